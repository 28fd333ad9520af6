"""Reading archives that nobody vouches for: layers, images, and what writes them down.

Terms. An *outer* archive is what `load` is given; a *layer* is a tar whose sha256 is its diff ID; the *tree* is what a
layer's entries add up to, in memory, pure; the *index* is that tree as an EROFS image whose payloads stay in the tar.
The whole of it runs in the worker, which has file descriptors and nothing else.
"""
