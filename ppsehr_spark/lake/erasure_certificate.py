"""The certificate of an erasure, as JSON and in Chinese: what went, from where, what is left and what was looked for.

Knows: the wording. Must not know: how anything was removed; it names no person, no id and no text.
Reference: 个人信息保护法 (PIPL, in force since 2021-11-01), Article 47: a handler deletes personal information when
its purpose is achieved, the storage period has ended, consent is withdrawn or handling breaks law or agreement, and a
person may ask for it; where the law prescribes a longer storage or deletion is technically hard, handling is limited to
storage and protection. The latter is why the certificate says what was kept and why.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ppsehr_spark.lake.erasures import ErasureOrder

LEGAL_BASIS = "《中华人民共和国个人信息保护法》第四十七条"
_KEPT = (
    "差分隐私统计、记录模型与训练检查点已注明而未删除：其隐私保证对数据中的每一位患者成立，包括已删除者；预算不退还。",
    "墓碑为患者键的带密钥哈希，用于阻止同一来源再次入库；不可由此还原身份。",
    "与其他患者病历共有的片段保留其文本与答案，只删除与该人的联系。",
    "运行记录、隐私账本与审计日志只含计数与哈希，不含个人信息。",
)
_NOT_COVERED = (
    "医院来源文件与来源系统、湖外备份、对象存储的历史版本、已导出的文件（抽查表、文件模式的输出）、已交付的发布副本。",
    "其他主机上的执行器临时目录：随容器或作业清理，且已加密。",
)


def make_certificate(
    order: ErasureOrder,
    *,
    plan: Mapping[str, Any],
    marks: Mapping[str, Mapping[str, Any]],
    run_id: str,
    finished_at: str,
) -> dict[str, Any]:
    """All facts as plain values.

    Args:
        plan: what was found before: rows and version per table, segments, learners.
        marks: what the steps came to: ``release``, ``cleaning``, ``search``, and ``purge.<table>`` per table.
    """
    tables = {
        name: {
            "rows_removed": plan["rows"].get(name, 0),
            "version_before": version,
            "version_after": marks[f"purge.{name}"]["version"],
            "files_removed": marks[f"purge.{name}"]["files"],
            "log_entries_removed": len(marks[f"purge.{name}"]["log_entries"]),
        }
        for name, version in plan["versions"].items()
    }
    return {
        "certificate": 1,
        **asdict(order),
        "legal_basis": LEGAL_BASIS,
        "run_id": run_id,
        "finished_at": finished_at,
        "tables": tables,
        "segments": plan["segments"],
        "knowledge_rows_stripped": plan["knowledge_rows"],
        "releases_withdrawn": marks["release"],
        "learnt_from_them": plan["learnt"],
        "cleaning": marks["cleaning"],
        "search": marks["search"],
        "kept": list(_KEPT),
        "not_covered": list(_NOT_COVERED),
    }


def to_json(certificate: Mapping[str, Any]) -> str:
    """The JSON file's text."""
    return json.dumps(certificate, ensure_ascii=False, indent=2, sort_keys=True) + "\n"


def hash_text(text: str) -> str:
    """SHA-256 (hex) of a file's text."""
    return hashlib.sha256(text.encode()).hexdigest()


def render_zh(certificate: Mapping[str, Any], *, sha256: str) -> str:
    """The same in Chinese, for people.

    Args:
        sha256: of the JSON file.
    """
    search, learnt = certificate["search"], certificate["learnt_from_them"]
    n_keys, n_ids, n_texts = (search["n_looked_for"].get(kind, 0) for kind in ("key", "id", "text"))
    lines = [
        "个人信息删除凭证",
        f"编号：{certificate['erasure_id']}",
        f"依据：{certificate['legal_basis']}　原因代码：{certificate['reason']}",
        f"申请账户：{certificate['requested_by']}　人数：{certificate['n_persons']}",
        f"开始：{certificate['opened_at']}　完成：{certificate['finished_at']}　运行：{certificate['run_id']}",
        f"JSON 文件 SHA-256：{sha256}",
        "",
        "一、各表删除的行数与版本（旧版本、旧文件与旧日志已清除，不可再读）",
        *(
            f"  {name}：{row['rows_removed']} 行；版本 {row['version_before']} → {row['version_after']}；"
            f"清除文件 {len(row['files_removed'])} 个、日志 {row['log_entries_removed']} 个"
            for name, row in sorted(certificate["tables"].items())
        ),
        "",
        "二、片段",
        "  删除 {removed} 个（其中无病历引用者 {of_no_note} 个）；与他人共有而保留 {shared_and_kept} 个".format(
            **certificate["segments"]
        ),
        "",
        "三、发布",
        f"  撤回：{_listed(certificate['releases_withdrawn']['release_ids'])}",
        f"  接替：{certificate['releases_withdrawn']['successor'] or '无'}",
        "",
        "四、曾使用其数据、仅作注明者",
        *(f"  {name}：{_listed(ids)}" for name, ids in sorted(learnt.items())),
        f"  知识库中作为依据被划去的行：{certificate['knowledge_rows_stripped']}",
        "",
        "五、残留检索",
        f"  检索湖内文件 {search['n_files']} 个（{search['n_bytes']} 字节）",
        f"  检索本机其他文件 {search['n_files_elsewhere']} 个",
        f"  检索键 {n_keys} 个、来源编号 {n_ids} 个、文本 {n_texts} 段；"
        f"他人病历亦有而不计者 {search['n_shared']}，过短未检索的编号 {search['n_short_ids']}",
        f"  湖内命中：{len(search['hits'])}；湖外命中：{len(search['hits_elsewhere'])}",
        "",
        "六、保留及原因",
        *(f"  {line}" for line in certificate["kept"]),
        "",
        "七、本凭证不涵盖",
        *(f"  {line}" for line in certificate["not_covered"]),
    ]
    return "\n".join(lines) + "\n"


def _listed(ids: list[str]) -> str:
    return "、".join(ids) if ids else "无"
