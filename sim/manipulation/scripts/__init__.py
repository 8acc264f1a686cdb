"""Scripted arms that make the datasets on the table.

Must not know how a dataset is stored.
"""
