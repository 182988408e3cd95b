//! Catalogs beside volumes: collected, checked and lost like any tree, and never in the way of a volume.
