"""Published rows beside what this software gets: recipes, and the recorded benchmark."""

from fgvr.reproduce.lines import Line as Line
from fgvr.reproduce.planning import Have as Have
from fgvr.reproduce.planning import Missing as Missing
from fgvr.reproduce.planning import Plan as Plan
from fgvr.reproduce.planning import collection as collection
from fgvr.reproduce.planning import plan as plan
from fgvr.reproduce.recipe import Recipe as Recipe
from fgvr.reproduce.recipe import all_recipes as all_recipes
from fgvr.reproduce.recipe import load_recipe as load_recipe
from fgvr.reproduce.recipe import recipe_names as recipe_names
from fgvr.reproduce.run import Outcome as Outcome
from fgvr.reproduce.run import reproduce as reproduce

__all__ = [
    "Have",
    "Line",
    "Missing",
    "Outcome",
    "Plan",
    "Recipe",
    "all_recipes",
    "collection",
    "load_recipe",
    "plan",
    "recipe_names",
    "reproduce",
]
