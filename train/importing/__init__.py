"""Other people's labelled data, checked and written as a dataset of ours."""
