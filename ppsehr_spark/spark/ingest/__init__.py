"""Source files become phi.patients, phi.encounters, phi.notes, phi.gold; what cannot be read becomes phi.rejects."""
