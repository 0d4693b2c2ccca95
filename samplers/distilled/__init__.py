"""Students distilled from a teacher that keep its network: progressive distillation and consistency models."""
