"""What DICOM headers tell of patient and eye where tables do not."""

from __future__ import annotations

from collections.abc import Iterable

from atlas.cohort.draft import Draft
from atlas.cohort.files import File


class Headers:
    """Patient and eye by the headers of DICOM files; counts what was used of them.

    A patient's number stays within the program: it joins photographs of one person, and no page, table or message shows it.

    Parameters
    ----------
    files : iterable of File
        All photographs that are used.
    """

    def __init__(self, files: Iterable[File]) -> None:
        patients: dict[str, str] = {}
        for file in files:
            if file.header is not None and file.header.patient is not None:
                patients[file.own_path.as_posix()] = file.header.patient
        # Files that were made anonymous often name one patient for all.
        self._same = len(patients) if len(patients) > 1 and len(set(patients.values())) == 1 else 0
        self._unused = False
        self._patients, self._eyes = 0, 0
        self._against: list[str] = []

    def patient(self, file: File) -> str | None:
        """Return a file's patient; None where its header names none that tells photographs apart."""
        if file.header is None or file.header.patient is None:
            return None
        if self._same:
            self._unused = True
            return None
        self._patients += 1
        return file.header.patient

    def eye(self, file: File, given: str | None) -> str | None:
        """Return the eye that a header names where the table names none.

        Parameters
        ----------
        given : str or None
            The table's, which is followed.
        """
        own = None if file.header is None else file.header.eye
        if given is not None:
            if own not in (None, given):
                self._against.append(file.name)
            return given
        self._eyes += own is not None
        return own

    def tell(self, draft: Draft) -> None:
        """Say what was used, in one line each."""
        used = [f"the {what} of {n:,}" for what, n in (("eye", self._eyes), ("patient", self._patients)) if n]
        if used:
            draft.guess(f"DICOM headers told {' and '.join(used)} photograph{'s' * (max(self._eyes, self._patients) > 1)}.")
        if self._unused:
            draft.guess(
                f"All {self._same:,} DICOM files that name a patient name the same one, as anonymous files do. Each counts as a "
                "patient of its own."
            )
        if self._against:
            count = len(self._against)
            draft.guess(
                f"The table and the DICOM header name different eyes for {count:,} photograph{'s' * (count > 1)}, such as "
                f"{self._against[0]}. The table was followed."
            )
