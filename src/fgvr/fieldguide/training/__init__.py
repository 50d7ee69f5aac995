"""How the field guide's two small models are made: texts, tokenisers, pictures, and one loop for each model."""
