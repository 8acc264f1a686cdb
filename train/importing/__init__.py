"""Other people's labelled data: read, checked by `train/data/admission`, written as ours.

Must not know what is learned from them.
"""
