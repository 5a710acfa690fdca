"""The objects in a store: names, keys, manifests, snapshots and the catalog of them."""
