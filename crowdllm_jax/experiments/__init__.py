"""Studies: the same crowd made in several ways, so that one sees what each part of it brings.

One file per study; `fits` fits many conditions, `results` is the table, `figure` the picture and
`folder` what is written.
"""
