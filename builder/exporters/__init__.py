"""Writers of finished images: archives, directories, plain files, and the image store."""
