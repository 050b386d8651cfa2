"""The rows that the ranking model learns from: logged ones, and what retrieval would have shown."""
