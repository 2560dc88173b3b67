"""The statistics: labelled arrays in, labelled arrays out."""
