"""Importers of annotation tools' exports: a reader per format, and write.py for the data set."""
