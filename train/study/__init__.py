"""`fieldtune study`: every method of one family, over seeds, in one table and one figure."""
