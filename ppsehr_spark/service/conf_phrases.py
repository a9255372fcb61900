"""Configuration errors in Chinese, with the line they point at.

Knows: error codes and the English hints of the core. Must not know: how conf is checked.
"""

from __future__ import annotations

import re

from ppsehr_spark.errors import ConfigurationError

_CODES = {
    "NOT_TOML": "不是合法的 TOML",
    "MISSING_FILE": "文件不存在",
    "CONF_FOLDER": "找不到配置目录",
    "UNKNOWN_PROFILE": "没有这个配置档",
    "UNKNOWN_KEY": "不认识的设置项",
    "WRONG_TYPE": "设置项类型不对",
    "OVERRIDE": "--set 的写法不对，应为 段.键=值",
    "SPARK_KEY_IN_PROFILE": "Spark 的主节点、内存、jar、JVM 选项只能写在 spark-defaults.conf 和 conf/spark/",
    "CATEGORY_FILE": "类别文件有误",
    "CATEGORY_PATTERN": "类别的正则规则 [[pattern]] 有误",
    "CATEGORY_LEXICON": "类别的词表 [[lexicon]] 有误",
    "LEXICON_FILE": "类别引用的词表文件不存在",
    "LEXICON": "词表内容不足或格式不对",
    "UNKNOWN_RECOGNISER": "没有这个内置识别器",
    "TIERS_FILE": "分级规则有误",
    "PROMPT_FILE": "提示词文件有误",
    "PROTECTION_POLICY": "脱敏策略有误",
    "QWEN_SCOPE": "partition.qwen_scope 的取值不对",
    "TAGGER": "partition.tagger 的取值不对",
    "CONF_MISSING": "缺少这个文件",
    "CONF_SYNTAX": "不是合法的 TOML",
    "PRIVACY_CAPS": "隐私预算上限有误",
    "CODE_LIST": "公开清单有误",
    "RELEASE_CATALOGUE": "统计发布目录有误",
    "RECORD_MODEL": "记录模型的设置有误",
    "NARRATIVE_FORM": "合成病历的格式有误",
    "NARRATIVE_PROMPT": "合成病历的提示词有误",
    "KNOWLEDGE_FILE": "知识库的学习范围有误",
    "KNOWLEDGE_ENTRY": "知识库的条目在 conf 里已没有位置",
    "SEGMENT_SIZE": "片段长度与重叠的设置互相矛盾",
}
#: English hints of the core -> Chinese; the rest of a hint (names to choose from) is kept.
_HINTS = (
    (r"^not valid TOML: ", "不是合法的 TOML："),
    (r"^unknown key$", "不认识的键"),
    (r"^unknown or missing key$", "有不认识的键，或缺少 id、regex、confidence"),
    (r"^is required$", "必须填写"),
    (r"^is required: ", "必须填写："),
    (r"^no such file in categories/$", "categories/ 下没有这个类别"),
    (r"^must equal the file name$", "必须与文件名相同"),
    (r"^must be (a )?str$", "应为字符串（加引号）"),
    (r"^must be int$", "应为整数"),
    (r"^must be float$", "应为小数"),
    (r"^must be bool$", "应为 true 或 false"),
    (r"^must be (list|dict)$", r"应为 \1（列表用 []，表用 {}）"),
    (r"^must be a table$", "应为一个表"),
    (r"^must be one of ", "可用的值："),
    (r"^must be a string of (\d+) digits$", r"应为 \1 位数字的字符串"),
    (r"^must be a non-empty string.*", "不能为空，否则前后文字会连在一起"),
    (r"^must not be keep.*", "不能是 keep：没有写明的内容不能原样保留"),
    (r"^a tiered entry names .*", "分级写法须同时写 tier1、tier2、tier3"),
    (r"^needs at least two terms.*", "至少要有两个词条可选"),
    (r"^needs a second column$", "需要第二列"),
    (r"^needs id, file, confidence$", "须写 id、file、confidence"),
    (r"^regex: ", "正则表达式不合法："),
    (r"^validator is one of ", "可用的校验器："),
    (r"^recognisers are ", "可用的识别器："),
    (r"^one of ", "可用的值："),
    (r"^some of ", "只能从中选："),
    (r"^\[tagger\] names all.*", "[tagger] 的各项须写全，且不能有别的项"),
    (r"^partition\.tagger is ", "可用的值："),
    (r"^(\d+) columns, parted by tabs$", r"每行应有 \1 列，用制表符分隔"),
    (r"^the first column must name each line once$", "第一列不能重复，也不能一行都没有"),
    (r"^each department stands in departments\.tsv, too$", "所写的科室不在 departments.tsv 里"),
    (r"^no ward bears the name of a department$", "病区不能与科室同名（科室名代表该科室其余）"),
    (r"^no city bears the name of another province.*", "市不能与别的省同名，也不能叫“其他地区”（省名代表该省其余）"),
    (r"^ids are distinct and shares add up to 1 at most$", "各项的 id 不能重复，share 合计不能超过 1"),
    (r"^distinct public lists among ", "应为互不相同的公开清单，可用："),
    (r"^two or more lists, each refining.*", "至少两级，由粗到细，后一级须是前一级的细分"),
    (r"^a public list and one of its values$", "应为一个公开清单和其中的一个取值"),
    (r"^a share lies in \(0, 1\]$", "份额应大于 0、不超过 1"),
    (r"^a key is missing or unknown$", "有缺少或不认识的键"),
    (r"^a whole number, 1 or more$", "应为不小于 1 的整数"),
    (r"^a finite number above 0$", "应为大于 0 的数"),
    (r"^not above that of \[bounds\]$", "不能超过 [bounds] 里的上限"),
    (r"^two or more whole numbers, rising$", "应为两个以上由小到大的整数"),
    (r"^the section is missing or empty$", "缺少这一节或内容为空"),
    (r"^unknown placeholder; known are ", "不认识的占位符；可用的有："),
    (r"^the file is missing$", "文件不存在"),
    (r"^the lexicon that a category names is missing$", "类别里写的词表文件不存在"),
    (r"^a category is tiered but the file is missing$", "有类别需要分级，但文件不存在"),
    (r"^names a word list that \[words\] does not have$", "引用了 [words] 里没有的词表"),
    (r"^a pattern is not a valid regular expression$", "有正则表达式不合法"),
)
_AT_LINE = re.compile(r"at line (\d+)")
_PLACED = ("pattern", "key", "section", "entry", "release", "field")


def describe_error(error: ConfigurationError) -> str:
    """One Chinese sentence: what is wrong, where, and what would be right."""
    parts = [_CODES.get(error.code, error.code)]
    parts += [str(error.fields[name]) for name in _PLACED if error.fields.get(name) not in (None, "")]
    hint = next((re.sub(p, text, error.hint) for p, text in _HINTS if re.search(p, error.hint)), error.hint)
    return "：".join((" ".join(parts), hint)) if hint else " ".join(parts)


def locate_error(text: str, error: ConfigurationError) -> int:
    """The 1-based line an error points at: the parser's own, else where its key or pattern stands, else 0."""
    if at_line := _AT_LINE.search(error.hint):
        return int(at_line[1])
    if isinstance(line := error.fields.get("line"), int):
        return line
    names = [str(error.fields[name]) for name in _PLACED if error.fields.get(name)]
    return next((line for name in names if (line := _find_name(text, name))), 0)


def _find_name(text: str, name: str) -> int:
    """The line that assigns the last part of a dotted name, below the header of what stands before it."""
    head, _, last = name.rpartition(".")
    lines = text.split("\n")
    first = _find_line(lines, rf"\s*\[+\s*{re.escape(head)}\s*\]", 0) if head else 0
    patterns = (
        rf'\s*"?{re.escape(last)}"?\s*=',
        rf"\s*\[+.*\b{re.escape(last)}\s*\]",
        rf'.*"{re.escape(last)}"',
        rf"#.*{re.escape(last)}",
        rf"{re.escape(last)}\t",
    )
    found = next((at for pattern in patterns if (at := _find_line(lines, pattern, first))), 0)
    return found or first


def _find_line(lines: list[str], pattern: str, first: int) -> int:
    regex = re.compile(pattern)
    return next((number for number, line in enumerate(lines, 1) if number >= first and regex.match(line)), 0)
