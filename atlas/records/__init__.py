"""What flows between the stages: frozen records of arrays. All are names of this package, whichever module they stand in.

Records are joined by image_id or patch_id, never by position across records. Arrays are read-only by convention.
"Grade units" are the units of the dataset's own scale: with grades 0 to 4, a drop of 0.5 is half a grade.
"""

from atlas.records.agreement import CalibrationBin as CalibrationBin
from atlas.records.agreement import Confusion as Confusion
from atlas.records.agreement import Densities as Densities
from atlas.records.agreement import Evaluation as Evaluation
from atlas.records.agreement import Interval as Interval
from atlas.records.agreement import LabelShare as LabelShare
from atlas.records.agreement import Roc as Roc
from atlas.records.agreement import Strip as Strip
from atlas.records.arrays import BoolArray as BoolArray
from atlas.records.arrays import ByteArray as ByteArray
from atlas.records.arrays import FloatArray as FloatArray
from atlas.records.arrays import IntArray as IntArray
from atlas.records.atlas import Atlas as Atlas
from atlas.records.atlas import FoundLesions as FoundLesions
from atlas.records.atlas import Provenance as Provenance
from atlas.records.check import Check as Check
from atlas.records.check import Cost as Cost
from atlas.records.check import Share as Share
from atlas.records.cohort import DIABETIC_RETINOPATHY as DIABETIC_RETINOPATHY
from atlas.records.cohort import IMAGE as IMAGE
from atlas.records.cohort import LESION_GRID as LESION_GRID
from atlas.records.cohort import RETINA as RETINA
from atlas.records.cohort import SPLITS as SPLITS
from atlas.records.cohort import SUBJECTS as SUBJECTS
from atlas.records.cohort import Dataset as Dataset
from atlas.records.cohort import DatasetReport as DatasetReport
from atlas.records.cohort import GradedImage as GradedImage
from atlas.records.cohort import Lesions as Lesions
from atlas.records.cohort import Line as Line
from atlas.records.cohort import Scale as Scale
from atlas.records.cohort import Subject as Subject
from atlas.records.cohort import Target as Target
from atlas.records.curation import Curation as Curation
from atlas.records.curation import Lesson as Lesson
from atlas.records.curation import Stop as Stop
from atlas.records.curation import Words as Words
from atlas.records.lesions import UNTOLD as UNTOLD
from atlas.records.lesions import Landmarks as Landmarks
from atlas.records.lesions import LesionBox as LesionBox
from atlas.records.lesions import Mark as Mark
from atlas.records.patterns import Alarm as Alarm
from atlas.records.patterns import Alike as Alike
from atlas.records.patterns import Clusters as Clusters
from atlas.records.patterns import Embedding as Embedding
from atlas.records.patterns import Patches as Patches
from atlas.records.photographs import Augmentation as Augmentation
from atlas.records.photographs import Facts as Facts
from atlas.records.photographs import Frame as Frame
from atlas.records.photographs import Preprocessed as Preprocessed
from atlas.records.photographs import TwoStageForm as TwoStageForm
from atlas.records.scores import DoubtRule as DoubtRule
from atlas.records.scores import GradeCuts as GradeCuts
from atlas.records.scores import LiveSums as LiveSums
from atlas.records.scores import SaliencyMaps as SaliencyMaps
from atlas.records.scores import Scores as Scores
from atlas.records.scores import TestScores as TestScores
from atlas.records.scores import Trust as Trust
from atlas.records.told import Sentence as Sentence
from atlas.records.told import noop as noop
from atlas.records.told import ntold as ntold
from atlas.records.told import told as told
