"""Figures an earlier probe measured on the same material (MiniLM sACC), to compare with; shares in [0, 1]."""

QUALITY = {
    "Birds Qwen": {"exact": 0.473, "sacc": 0.778, "siou_cased": 0.484, "siou_split": 0.596, "cacc": 0.680,
                   "labels": 250, "hit": 0.660, "class_best": 0.909, "precision": 0.528},
    "Birds Gemini": {"exact": 0.530, "sacc": 0.821, "siou_cased": 0.636, "siou_split": 0.657, "cacc": 0.685,
                     "labels": 288, "hit": 0.770, "class_best": 0.955, "precision": 0.535, "mentioned": 0.730},
    "Cars Qwen": {"exact": 0.061, "sacc": 0.832, "siou_cased": 0.451, "cacc": 0.478, "labels": 486, "hit": 0.133,
                  "class_best": 0.905, "precision": 0.054},
    "Dogs Qwen": {"exact": 0.486, "sacc": 0.767, "siou_cased": 0.574, "cacc": 0.714, "labels": 141, "hit": 0.658,
                  "class_best": 0.907, "precision": 0.560},
    "Flowers Qwen": {"exact": 0.186, "sacc": 0.559, "siou_cased": 0.320, "cacc": 0.631, "labels": 213, "hit": 0.333,
                     "class_best": 0.790, "precision": 0.160, "mentioned": 0.575},
    "Pets Qwen": {"exact": 0.505, "sacc": 0.819, "siou_cased": 0.661, "cacc": 0.748, "labels": 56, "hit": 0.676,
                  "class_best": 0.924, "precision": 0.446},
}  # fmt: skip
COVERAGE = {
    "Birds Qwen": {1: (0.473, 0.473, 0.778), 3: (0.528, 0.474, 0.826), 5: (0.548, None, 0.845)},
    "Birds Gemini": {1: (0.530, 0.530, 0.821), 3: (0.598, 0.532, 0.870), 5: (0.625, None, 0.889)},
    "Cars Qwen": {1: (0.061, 0.061, 0.832), 3: (0.082, 0.061, 0.859), 5: (0.092, None, 0.867)},
    "Dogs Qwen": {1: (0.486, 0.486, 0.767), 3: (0.514, 0.487, 0.806), 5: (0.525, None, 0.820)},
    "Flowers Qwen": {1: (0.186, 0.186, 0.559), 3: (0.278, 0.187, 0.674), 5: (0.297, None, 0.706)},
    "Pets Qwen": {1: (0.505, 0.505, 0.819), 3: (0.595, 0.512, 0.862), 5: (0.613, None, 0.881)},
}
"""k to (coverage with neighbours, with random sets, mean best similarity with neighbours)."""
NEIGHBOURS = {
    "Birds Qwen": (0.293, 0.41, 0.636, 0.634, 0.392),
    "Birds Gemini": (0.293, 0.41, 0.636, 0.703, 0.459),
    "Cars Qwen": (0.304, 0.41, 0.596, 0.155, 0.051),
    "Dogs Qwen": (0.150, 0.20, 0.392, 0.565, 0.470),
    "Flowers Qwen": (0.631, 0.78, 0.897, 0.245, 0.155),
    "Pets Qwen": (0.369, 0.48, 0.682, 0.571, 0.474),
}
"""Purity at k = 3, of the nearest, of mutual nearest pairs; precision where the nearest agrees, and elsewhere."""
HELD_OUT = {
    "Birds Qwen": (0.614, 0.600, 0.616),
    "Birds Gemini": (0.643, 0.619, 0.643),
    "Cars Qwen": (0.691, 0.671, 0.690),
    "Dogs Qwen": (0.516, 0.474, 0.510),
    "Flowers Qwen": (0.520, 0.485, 0.520),
    "Pets Qwen": (0.625, 0.594, 0.630),
}
"""Held-out sACC of PRODEN: k = 1, k = 3, k = 3 with the own label counted five times."""
SHIFTED_CARS = {"sacc": 0.556, "siou_cased": 0.159}
"""Car labels against the previous class's name."""
AGREEMENT = {("Birds Qwen", "Birds Gemini"): (0.515, 0.715, 0.635)}
"""Share of images both name alike; the listed name among those; the listed name by at least one, over all images."""
FINER_SPACES = {
    "Birds": (428, 0.520, 0.860, 0.243),
    "Cars": (1585, 0.107, 0.893, 0.013),
    "Dogs": (202, 0.500, 0.846, 0.297),
    "Flowers": (683, 0.196, 0.704, 0.029),
    "Pets": (98, 0.730, 0.906, 0.276),
}
"""FineR's released names of the same protocol (BLIP-2's attributes, gpt-3.5-turbo, 3 shots; not in the material):
labels, classes hit exactly, mean best similarity of a class, label precision."""
