"""What is asked for: the study file, its conditions, probes, noise and texts."""

from schemas.moved import attributes

__getattr__ = attributes(
    __name__,
    {
        "Block": "schemas.store",
        "Plan": "generate.study.planning",
        "load_study": "generate.study.study_file",
        "plan": "generate.study.planning",
        "recorded_plan": "generate.study.planning",
    },
)
