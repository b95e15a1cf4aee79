"""Exports of annotation tools -> own posts: one file a format, and what writes the data set."""
