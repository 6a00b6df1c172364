"""Photo-realistic faces for rendered avatars: the stages of `refacer` as plain functions.

Importing this package does nothing and costs nothing; import the stage you need,
for example ``from refacer.stages.project import project``.
"""

__version__ = "0.1.0"
