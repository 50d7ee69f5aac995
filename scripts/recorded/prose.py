"""What the page says around its tables. Claims about outcomes were read off the tables of seed 0."""

HEAD = """# Real recorded labels on real CLIP features

Replies that real MLLMs gave for the 1,965 support images (three per class) of five fine-grained data sets, and CLIP
ViT-B/16 image features of the same images. No picture, no text encoder and no MLLM is needed, and none of the material
is part of this repository. Nothing here is a reproduction of a published table: the test sets of the papers are not
touched, and sACC is MiniLM's."""

LABELS_NOTE = ""
SHIFT_NOTE = ""
SETS_NOTE = ""
NEIGHBOURS_NOTE = ""
HELD_OUT_NOTE = ""
CAVEATS = ""
