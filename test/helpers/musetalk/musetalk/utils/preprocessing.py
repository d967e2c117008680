"""Stands in for MuseTalk's preprocessing, whose models are loaded when it is imported."""

import torch  # noqa: F401

print("preprocessing loads its models")
