"""Renders tasks, progress and documents as text.

style      symbols, colours, durations, times
tables     tables that fit the terminal
task       one task, one template
graphs     a workflow's graph in text
progress   running tasks, live or line by line
json       the JSON document of `--json`
"""
