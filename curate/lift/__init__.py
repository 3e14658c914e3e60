"""Lift: dense fields of many windows to the sparse scene, in metres with covariance (`builder.SceneBuilder`)."""
