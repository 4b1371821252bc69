"""Building from verified source in a root made for it, so that anyone gets the same bytes (spec/recipe.md)."""
