"""Who and what: photographs, grades, patients, masks and kinds of lesion."""
