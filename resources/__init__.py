"""The data files of the station: SKU packs, recipes, boards, bins, protocol files."""
