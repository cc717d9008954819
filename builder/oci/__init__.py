"""Values of the image world, as the OCI image specification names them."""
