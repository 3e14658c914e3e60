"""Networks behind the estimators' contract. Modules named `*_net` need torch when imported: only inside functions."""
