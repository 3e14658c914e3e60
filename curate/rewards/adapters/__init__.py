"""Rewards in the signatures of the trainers: trl's GRPOTrainer, verl, ms-swift, EasyR1. None of them is imported."""
