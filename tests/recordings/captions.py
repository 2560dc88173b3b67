"""Captions that exercise the cleaning rules."""

CAPTIONS = [
    "A red cat, sitting on a MAT.",
    "  Two   dogs\nand (one) [bird] {fly} ***wow*** ",
    "see https://example.org/a?b=c and example.com for it",
    "a man in new york @someone #12345 1234567 IMG_0042.jpg",
    "&quot;fish &amp; chips&quot; â€œquotedâ€\x9d “curly” ‘single’",
    "free download of jc6640vc page 12 click here",
    "this-is-my-cute-cat in a-b-c hats — dashes – here",
    "10x20 cm poster, worldwide free shipping : now",
    "<b>bold</b> and <person> waves",
    "漢字 and émigré café",
]
