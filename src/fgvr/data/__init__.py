"""What the user gives (folders, patterns, manifests) and what they get (prediction files)."""

from fgvr.data.exports import csv_bytes as csv_bytes
from fgvr.data.exports import format_predictions as format_predictions
from fgvr.data.exports import read_predictions as read_predictions
from fgvr.data.exports import write_predictions as write_predictions
from fgvr.data.items import Items as Items
from fgvr.data.items import Source as Source
from fgvr.data.items import as_items as as_items
from fgvr.data.items import load_items as load_items
from fgvr.data.splits import draw_support as draw_support
from fgvr.data.splits import leaks as leaks
from fgvr.data.splits import per_class as per_class
