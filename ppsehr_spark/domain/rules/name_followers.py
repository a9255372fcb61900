"""Words that begin where a name has ended: fields, titles, what a person does, and verbs that a name would cut in two.

Knows: those words. Must not know: what a name is made of. Reference: annotation guideline v1, row NAME.
"""

from __future__ import annotations

from ppsehr_spark.domain.first_characters import GuardedPattern

#: Words after which a name has ended.
FOLLOW = GuardedPattern(
    r"(?:性别|男|女|年龄|职业|民族|婚姻|出生|籍贯|身份证|电话|手机|联系|地址|住址|主任|副主任|医师|医生|"
    r"大夫|护士|护师|主治|主管|教授|院长|老师|技师|药师|"
    r"先生|女士|同志|等|查房|签名|签字|签署|陪|护送|搀扶|代|诉|述|陈述|要求|表示|告知|说|称|认为|同意|签|"
    r"拒绝|知情|了解|于|因|以|为|系|在|与|和|及|是|已|将|到|体健|健在|健康|患|床旁|"
    r"之|的|病史|家属|送|提供|反映|知晓|理解|会诊|主刀|执行|记录|主持|补充|分析|指出|总结|汇报|入院|就诊|"
    r"曾|今|现|自|来|未|无|有|会|指|接|科|住院|门诊|主诉|也|都|前|"
    r"后|并|由|对|从|向|打|再|又|术|行|经|照|看|办|做|按|继续|完成|操作|负责|担任|解释|复核|讨论|审核|"
    r"检查|测|登记|安排|处理|评估|指导|协助|宣教|核对|交接|接诊|采集|"
    r"抽血|书写|参加|带领|护理|发现|给予|开具|下达|阅|转达|巡视|换药|拆线|穿刺|置管|发现|发生|致电|来电|"
    r"送餐|不|月经|长期|意见|跟进|离断|缝合|示|若有|若无|须|需|应|可|请|仍|自|共|约|到达|赶|"
    r"推|携|持|交|收|一行|夫妇|二人|两人|本人|随|亦|均|并|抱|背|驾|骑|正|户|跪|报警|同|死|早|出席|主演|执导|现身|"
    r"留|转|答|辞|主持|去世|病故|当选|就任|出任|递|亮相|夺冠|率领|参演|公布|合作|联手|记得|扑出|上门|则|便)"
)
#: What a person does, of characters that transliterate as well.
ACT_AFTER_DOTTED = GuardedPattern(
    r"代[述诉签办]|提供|陪[同护伴诊]|签[名字署]|主[诉动持刀]|自[述诉行]|与[\u4e00-\u9fff]|和[\u4e00-\u9fff]{2}"
)
#: Verbs and states of two characters whose first also ends given names (``曲云健在``).
VERB_OF_TWO = GuardedPattern(
    r"体健|健在|健康|代[诉述签办为]|签[字名署]|陪[同护诊伴]|查房|会诊|表示|要求|拒绝|在[场家外院位]|到[场院达]|来[电院诊]|致电|"
    r"死于|死亡|去世|病故|患有|平时|平素|平日|同意|同住|同行|同来|同往|成年|成婚|正[在常]|明确|安[排装]|发[现热生病]|生[于前后]|"
    r"文化|学习|立即|进[行入食]|光顾|高[热烧]|强[调烈]|生活|清[醒楚晨]|常[年规住]|长[期大年]|永[远久]|东[侧边]|建[议档卡]"
)
