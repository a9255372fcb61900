"""Data files of the simulator; a package so that they are found inside a wheel or zip too."""
