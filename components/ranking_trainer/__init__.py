"""The ranking model: crosses, an interaction, one head per task."""
