"""dialects/openai"""
