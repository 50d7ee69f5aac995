"""Published rows beside what this software gets: recipes, and the recorded benchmark."""
