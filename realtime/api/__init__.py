"""HTTP, one file per resource. Each function takes a `Call`, asks `feed`, returns an object of the contract."""
