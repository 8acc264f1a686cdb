"""What an episode is, and its bytes.

Must not know where episodes are kept, nor who sends them.
"""
