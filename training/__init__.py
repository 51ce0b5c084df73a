"""How the bundled `tiny` checkpoint is made: drawn scenes, the recipe and its evaluation. Not shipped."""
