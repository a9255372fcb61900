"""From a synthetic record to a note: which form, which prompt, and what of the reply may stand.

Knows: records, forms and word lists of ``conf/narratives``. Must not know: engines, tables, real notes.
"""

from ppsehr_spark.synthesis.narratives.agreement import Agreement as Agreement
from ppsehr_spark.synthesis.narratives.agreement import check_agreement as check_agreement
from ppsehr_spark.synthesis.narratives.book import NarrativeBook as NarrativeBook
from ppsehr_spark.synthesis.narratives.book import NarrativePrompt as NarrativePrompt
from ppsehr_spark.synthesis.narratives.book import compile_narratives as compile_narratives
from ppsehr_spark.synthesis.narratives.book import make_header_prompt as make_header_prompt
from ppsehr_spark.synthesis.narratives.book import make_prompt as make_prompt
from ppsehr_spark.synthesis.narratives.screening import ScreenedNote as ScreenedNote
from ppsehr_spark.synthesis.narratives.screening import screen_reply as screen_reply
