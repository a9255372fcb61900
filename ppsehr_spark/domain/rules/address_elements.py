"""One address element at one place of a normalised text: road, estate, village, building, floor, room, group.

Knows: how elements are written (suffixes, numbers in digits or Hanzi, spaces, dashes, brackets). Must not know: the
gazetteer, labels, or where an address begins. Every read is bounded: ``MAX_STEPS`` elements of a dozen characters.
Reference: annotation guideline v1, row ADDRESS; Alibaba's address levels (Li, Lu, Xie and Li, NAACL 2019).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_STEPS = 16
#: Function words; inside a name they stand only beside the partners below.
_FUNCTION = (
    "的了在是有因患者诊就与及并或曾给让把到去来从向往至于住后我你他她它这那哪每吗呢啊吧着过则但且如为以自由将"
    "已未无不病治疗痛症检查服药术说称等系"
)
#: Function words that are part of place names beside these characters (``将军路``, ``未央区``, ``后上田小区``).
_PARTNERED = (
    r"(?:后[山海街湾沟岭村庄洲河塘坡寨坪坝巷宅田浦营溪潭门上头桥屯峪沙官地城咀店楼墙岗坞堡窑葛董郑马]|"
    r"来[安宾凤福龙广]|向[阳荣东前明日]|自[贡由强治立]|将[军台乐]|无[影锡为极棣]|如[意皋东心海]|从[化江善]|"
    r"至[善德诚仁]|于[洪都家庄田]|未[央来]|为民|不夜|治国|服[务装]|药[山王师谷厂业都]|往[来]|过境|有[恒为]|住宅|"
    r"那[曲坡大]|与路|并州|去[疾]|到[湖]|者海|把[口]|给水|疗养|检[察测]|查干|系马|说[书]|"
    r"(?<=门)诊(?=大?楼)|(?<=[技艺美学武])术|(?<=自)[由治]|(?<=[皇太天])后|(?<=居)住(?=区|小)|(?<=[木王官])者|"
    r"(?<=[乔平])治|(?<=祥|福)如|曾[家厝庄屋坊岩坪坑营埭都巷沟湾店寺头楼]|他[拉什布尼里玛]|就业|等驾|有色|过街)"
)
#: Words that end an address or begin something else.
_WORDS = (
    r"两[市县省区地](?=[,，。;；、代同联交均的共各 ]|$)|"
    r"三[市县省区地](?=[,，。;；、代同联交均的共各 ]|$)|"
    r"四[市县省区地](?=[,，。;；、代同联交均的共各 ]|$)|两家|三家|几家|多家|多条|几条|数条|采集|"
    r"租房|一路[打吐走跑]|上山|下山|扫街|追尾|集合|由[东西南北]向|几百|几十|两车|楼[上下底前]|发现|"
    r"看管|学生公寓|集体宿舍|渔村|"
    r"江边(?![村路街镇])|河边(?![村路街镇])|湖边(?![村路街镇])|边(?=[上玩])|石材厂|铸造厂|一个(?![\u4e00-\u9fff]{0,2}[村屯庄])|自驾|挑战|落地|打工|务工|工作(?!站)|居住(?!区|小)|居民(?![点小新])|村民(?!委|小组)|职工(?![路新宿])|农民(?![新公路])|"
    r"旅游(?![路度区大小镇])|出差|旅行|"
    r"上学(?!路)|读书|求学|生活(?![区广])|经商|探亲|就诊|住院|治疗|手术|复查|医院(?![路街东西南北家宿])|返回|出生|长大|"
    r"暂住|"
    r"现住|定居|附近|周边|门口(?![村镇乡街路])|对面|隔壁|某|老家(?![村行自组屯庄])|当地|等地|务农|种植|养殖|"
    r"上班|下班|途中|"
    r"骑[车摩电自]|驾[车驶]|开车|"
    r"行走|步行(?!街)|被|散步|回家|回到|不慎|摔|跌|车祸|做|发生|吃|饮[酒食水用]|租[住房]|独居|同住|一起|转[入至往院]|"
    r"修(?:[路桥](?![街村])|铁路|公路|高速|高铁|房|车)|娘家|婆家|城中村|农家乐|港口(?![镇街路区村])|"
    r"煤矿(?![路街家小宿村])|湖区|上(?=[开做打卖有的住])|开[\u4e00-\u9fff]{1,2}[馆店坊铺]|"
    r"赶[集圩场](?![镇街村])|漏水|停水|断水|停电|出租[屋房]|小卖部|驿站|菜鸟|丰巢|快递柜|便利店|网吧|酒吧|"
    r"送[至往入]|"
    r"现居|现址|移居|迁居|来院|收入|入住|从事|退休|人员|女儿|儿子|老伴|"
    r"妻子|丈夫|父母|政府(?![路街大西东前后广宿家小])|公司(?![宿家])|有限|法院(?![宿家])|检察(?!院[宿家])|"
    r"银行(?![街大宿家])|派出所(?![宿家])|家属(?![院楼区大])|年龄|"
    r"联系|电话|手机|"
    r"邮编|邮政(?![街路大小宿支])|户口|户籍|身份|职业|民族(?![大路街乡小东西南北园新中])|婚姻|籍贯|性别|已婚|"
    r"未婚|汉族|一[家名位处间]|一(?:村道|路段|宾馆|酒店|"
    r"饭店|工地|出租)|"
    r"路过|途经|死亡|"
    r"推动|召开|公布|选择|都会|可以|以及|报道|记者|城市(?![花广家镇港之])|管理局|规划局|举行|位于|地处|坐落|隶属|"
    r"属于|距离|"
    r"开[店早厂车餐网饭酒工小了过茶]|开(?:宾馆|旅馆|书店|药店|发廊|服装|理发|修理|五金|杂货|棋牌|超市|货车|"
    r"出租|公交|诊所|作坊|养殖)|走[进出入近访路]|改成|改为|发起|成立|举办|揭晓|普通|首家|隔离|水乡|逛|行街|"
    r"农村(?![0-9一二三四五六七八九])|旗下|深化|推进|打造|变更|"
    r"更改|换成|写成|发到|返[乡回京台港沪国程]|下乡|摆摊|卖[菜水衣早东]|跑[车运长]|拉[货煤砖]|送货|"
    r"飞[抵往赴到回]|直飞|转机|转车|乘[机车船坐]|抵达|前往|看病|溺水|落水|县城(?![村路街中])|城里(?![村路街])|"
    r"城郊|滩区|菜市场(?![街路])|收购|购买|出售|"
    r"创业(?![路街大园中广基村社小])|参加|承包|经营|自驾(?!游)|"
    r"养[猪鸡鸭牛羊鱼殖]|开[办展会]|工地|鞋厂(?![宿家0-9])|电子厂(?![宿家0-9])|服装厂(?![宿家0-9])|"
    r"玩具厂(?![宿家0-9])|制衣厂(?![宿家0-9])|砖厂(?![宿家0-9])|老屋(?![村组湾里])|旧屋(?![村组])|老宅|租屋|朋友|"
    r"亲戚|同学|老乡|患者|病人|医生|警方|民警|记者|网友|市民(?![路街中广大公主族权生康])|"
    r"厂区宿|发热|咳嗽|邮寄|快递|先后|主诉|诊断"
)
_HEADS = "".join(sorted({word[0] for word in _WORDS.split("|") if "\u4e00" <= word[0] <= "\u9fff"}))
#: The look at the first character spares most places the walk through all the words.
_NO_WORD = rf"(?!(?=[{_HEADS}])(?:{_WORDS}))"
NO_NAME_WORD = re.compile(_WORDS)
NAME_CHARACTER = rf"(?:{_NO_WORD}(?:[\u4e00-\u9fff](?<![{_FUNCTION}])|{_PARTNERED}))"
_N = NAME_CHARACTER
#: Between an element and a number with its unit more characters count: only these never do.
_LOOSE = (
    rf"(?:{_NO_WORD}(?:[\u4e00-\u9fff](?<![的了在是因患者诊及并曾被吗呢啊把让你我他她它到往])|"
    rf"{_PARTNERED})|[A-Za-z·.+])"
)
STRONG = (
    r"(?:大道|大街|街区|街坊|街道办事处|街道办|街道|胡同|公路|高速公路|国道|省道|县道|办事处|镇(?![痛静咳吐定惊])|"
    r"(?<=族)乡|(?<!城)乡(?![下村亲镇])|苏木|嘎查|社区|居委会|村委会|居委|村委|村民小组|村民组|行政村|自然村|"
    r"新村|村民委员会|"
    r"(?<!农)[村邨](?!民(?!委|小组)|干部|医|卫|里(?![一二三四五六七八九0-9]))|"
    r"庄(?![严家])|屯|寨|支路|路(?![上过途程边人径由段况灯])|街(?![上边头])|巷|弄|小区|住宅区|居住区|居民区|居民点|"
    r"花园|花苑|公寓|家园|名城|名苑|雅苑|佳苑|嘉苑|苑|豪庭|华庭|雅居|公馆|别墅|山庄|大厦|商厦|家属院|家属楼|家属区|"
    r"家属大院|"
    r"宿舍楼?|大院|开发区|高新区|工业园区?|工业[区城]|产业园区?|产业基地|产业集聚区|科技园区?|软件园|物流园区?|"
    r"创业园|创意园|孵化园|"
    r"电商园|公园(?!化)|步行街|大桥|景区|高速路?[出入]?口|高速(?![发增运离行飞转下铁旋搅度公])|商务区|集中区|功能区|"
    r"管理区|示范区|度假区|风景区|自贸区|保税区|"
    r"经济区|合作区|试验区|实验区|先行区|保护区|园区|新区|"
    r"矿区|林区|垦区|"
    r"大学城|科学城|科技城|未来城|生态城|高教园区|新城|[建灯轻服汽商花美影家]\S?城(?=[0-9A-Za-z一二三四五六七八九])|"
    r"酒店|宾馆|饭店|"
    r"写字楼|商贸城|大市场|批发市场|农贸市场|建材市场|家具城|建材城|小商品城|商住楼|办公楼|教学楼|火车站|"
    r"汽车站|客运站|高铁站|国际机场|机场(?![集建股公])|服务区|收费站|农场|林场|牧场|渔场|团场|生产队|大队|屋邨|"
    r"屋苑|邨|三角洲|"
    r"高架|立交桥|环岛)"
)
_WEAK = (
    r"(?:里|城|园|府|居|湾|坊|轩|邸|郡|墅|阁|庭|都|岸|港|台|堡|峰|谷|汇|境界|国际|广场|市场|商场|大楼|厂区|码头|车站|"
    r"桥|岗|坪|坝|"
    r"沟|塘|岭|坡|圩|洲|岛|湖|河|山|水|嘴|咀|坳|冲|塆|垸|坎|堰|浜|泾|埭|浦|店|营|堡|集|围|埔|寮|厝|埕|垵|崎|铺|"
    r"庙|寺|头|口|尾|滩|荡|桥头|"
    r"路口|"
    r"(?<![气肠胆尿阴食产耳泪孔管轨跑报频味渠知行])道|世纪|时代|天下|天地|人家|之家|公元|印象|春天|绿洲|花都|华府|"
    r"中心|楼|院|屋|堂|馆|组|(?<!合作)社|"
    r"中段|东段|西段|南段|北段|外环|内环|环线|条|(?<![地市郊山疫灾牧藏片库赛湖农城滩])区|(?<![开办建进])厂|矿|站)"
)
_DIGITS = "0-9一二两三四五六七八九十百零〇"
_NUMBER = (
    rf"(?:[附甲乙丙丁特东西南北]|新|旧)?[A-Za-z]?[{_DIGITS}]{{1,5}}(?:[\-、/#~][0-9A-Za-z]{{1,5}}){{0,3}}"
    r"[甲乙丙丁A-Za-z]?"
)
_UNIT = (
    r"(?:号院|号楼(?![上下底前后顶])|号门(?![诊前口])|号馆|号(?![床线])(?:[甲乙丙丁](?![方类型状]))?|栋|幢|座|楼(?!梯|[上下](?![来去]))|"
    r"层(?!次)|单元|"
    r"室(?![性间])|房(?!间|颤|性|产)|"
    r"户(?!口|籍)|"
    r"村民小组|生产队|管理区|作业区|分场|连队|片区?|村(?![民道])|小组|组团|组|队|社|弄|巷|门(?!诊|急|口|球|冬)|排|"
    r"支弄|#楼|#|"
    r"期(?!间|待)|区(?!别)|小区|社区|院|街坊|街|"
    r"路|马路|团|连|师|邻|条|段|"
    r"档|铺|店面|单(?=[0-9])|胡同|纬路|经路|大街|大道|支路|营|省道|国道|县道|乡道|高速|里(?=[0-9甲乙]))"
)
_DELIMITER = r"(?=[,，。;；、)）(|\]】 \n]|$)"
_HOUSE = (
    rf"(?=[ ]?(?:[甲乙丙丁附特东西南北])?[{_DIGITS}]{{1,5}}(?:[\-][0-9]{{1,4}})?[甲乙丙丁]?[ ]?"
    r"(?:号|楼|栋|幢|弄|巷|邻|门|院|区|单元|座|组|社|段))"
)
_DIRECTED = (
    rf"(?:[东西南北中一二三四五六七八九十]{{1,2}}(?:段|路|街|区|里|巷|村(?![道民])|期|苑|条|道)|"
    rf"[东西南北中上下](?=[ ]?[0-9甲乙附])|"
    rf"[东西南北中]?[{_DIGITS}]段|[东西南北中]段)"
)
_ELEMENT = re.compile(
    r"[东西南北中]户|\([0-9一二三四五六七八九十]{1,3}\)(?:村民小组|村民组|小组|组|社|队|号|栋|幢|弄)|"
    r"T[1-4](?:号?航站楼)?(?![A-Za-z0-9])|"
    r"(?<=[楼层])[左右中](?:户|手)?(?=[,，。;；、)） ]|$)|(?<=号)附[0-9]{1,3}(?![0-9年月号栋幢楼单\-])|"
    r"(?<=[号栋座])[0-9]梯(?=[0-9,，。;；、)） ]|$)|首层|顶层|负[一二12]层|地下(?:[一二]?[室层]|"
    r"(?=[,，。;；、)） \n]|$))|"
    r"(?<=[元栋幢座])[一二三四五六七八九零〇]{3,4}室?(?![\u4e00-\u9fff])|"
    r"(?<=[道路街口门桥])站(?![立起位在着岗点])|"
    rf"(?<=[速路道线])(?:{_N}){{1,4}}?(?:段(?!落)|[东西南北]?(?:出口|入口|互通))|"
    r"(?<=[寨庄屯湾塘坪沟坡坝岭冲坳岗洼])(?:村民小组|组|社|"
    r"队)(?![织员])|"
    rf"(?<=[栋幢号楼区院苑园元])(?:门卫室?|传达室|保安室|值班室|收发室|岗亭|门面房?|底商|车库|地下室|阁楼|铺面|商铺|"
    rf"档口|前台|大堂)|"
    rf"(?:{_N}){{1,6}}?[道路街](?=[与和](?:{_N}){{1,8}}?[道路街](?:的)?交)|"
    rf"(?<=村)(?:{_N}){{1,4}}?(?:村民小组|组(?![织员长成])|队(?=[,，。;；、)） \n]|$))|"
    r"(?<=[\u4e00-\u9fff])[东西南北]站(?![立位起岗点])|"
    r"(?:国道|省道|县道)[GSXgsx]?[0-9]{2,4}线?|[GSXYgsxy]?[0-9]{2,4}(?:国道|省道|县道)|[GSXY][0-9]{2,4}线|"
    rf"[A-Za-z]{{1,2}}[0-9]{{0,3}}[ ]?[东西南北]?(?:座|栋|幢|区|楼|单元|室|馆|户|层|门)|"
    rf"(?<=[号园厦苑院楼期区场城心际])[东西南北主附裙塔配前后][楼区座栋院]|"
    rf"(?!0号)第?[ ]?{_NUMBER}[ ]?{_UNIT}(?![镇乡屯]|"
    rf"村(?!民))(?:[东西南北中][段侧头边楼区路街](?!院))?(?:[ ]?[上下之][ ]?(?:[0-9]{{1,3}}|"
    rf"[一二三四五六七八九十]{{1,2}}))?|"
    rf"(?:{_N}|\.){{1,9}}?{STRONG}(?:(?!路口|农场|林场|牧场|服务区|收费站|大市场|公园|酒店|宾馆|"
    rf"机场){STRONG}){{0,2}}{_DIRECTED}?|"
    rf"(?:{_N}){{1,8}}?[0-9]{{1,3}}号?(?:路|街|大街|大道|区|巷)|"
    rf"(?:{_N}){{1,9}}?(?:道|条|线|环|里|胡同|径|台|巷|坊|湾|桥|外|内|门|庵|场|仓|墙|弯){_HOUSE}|"
    rf"(?:{_N}){{1,8}}?{_WEAK}(?=[0-9{_DIGITS}A-Za-z第]|[东西南北]?[门座楼塔栋](?!诊)|附近|对面|旁边|门口|一带|"
    rf"[,，。;；、()（）| \n—\-]|$)|(?<=[0-9]号)(?:{_N}){{4,8}}(?=[,，。;；、)\n]|$)|"
    rf"(?<=[区县市])(?:{_N}){{2,3}}门(?=[,，。;；、()（）| \n]|$)"
)
#: A division that no list has (new districts, Taiwan), read only straight after a listed one.
_UNLISTED_DIVISION = re.compile(
    r"(?:新区|高新区|经开区|高新技术产业开发区|高新技术开发区|经济技术开发区|经济开发区|开发区|工业园区?|"
    r"产业园区?|自贸区|保税区|机场|"
    r"火车站|高铁站|汽车站|客运站|大学城|综合实验区|综合保税区|港(?=[,，。;；、时途装码]))|"
    r"(?!赛区|战区|景区|片区|园区|副[市区县]|楼市|股市|房市|车市|超市|夜市|菜市|上市|城市|门市|早市|集市|.?赛区|"
    r".?楼市|市区|"
    r"城区|地区|辖区|山区|疫区|农村|牧区|灾区|病区|校区|院区|小区|社区|郊区|东区|市县|本市|该市|各)"
    rf"(?:{_N}){{1,4}}?(?:区(?![域间别])|县(?!城|级)|市(?![场民值区内]))|"
    rf"(?:{_N}){{1,3}}?[湾沟桥口头塘岭坪坝堡洲浦店集港岛滩埠营屯铺庙山湖河溪泉](?=[这那][边里]|打工|务工|上班|"
    rf"工作|居住|生活|做|开|种|养|卖|人[,，。]|[渔农牧市居村矿]民|籍|工人)|"
    r"[东西南北](?=[—~至到\-]|之间|[上下]车|出发)|"
    rf"(?:{_N}){{0,3}}?站(?=[,，。;；、)乘坐换下出进上转至到接返 ]|$)"
)
#: A building or place known by a name of any form, shown by the number with unit that follows.
_NUMBERED = (
    rf"第?(?!0号){_NUMBER}(?:号楼|栋|幢|楼(?![梯上下])|层(?!次)|单元|室(?![性间])|座|号院|区(?!别)|期(?!间)|"
    rf"组(?![织成])|社|队|团(?![队长结伙圆])|连(?![续接队胜冠])|"
    r"号(?![床线]))|[A-Za-z][座栋幢区楼]"
)
_NAMED = re.compile(rf"(?:{_N}|[A-Za-z·.]){{2,12}}?(?={_NUMBERED})")
_NAMED_AFTER = re.compile(rf"(?:{_LOOSE}){{1,12}}?(?={_NUMBERED})")
#: The same, shown by a room code that ends the expression: ``海景阁18C，``.
_NAMED_TO_END = re.compile(
    rf"(?:{_N}){{2,8}}?(?=[A-Za-z]{{0,2}}[0-9]{{1,5}}[A-Za-z]{{0,2}}(?:-[0-9A-Z]{{1,6}}){{0,3}}室?{_DELIMITER})"
)
_NAMED_TO_CODE = re.compile(rf"(?:{_N}){{2,8}}?(?=[0-9]{{1,3}}-[0-9]{{1,4}}-[0-9]{{1,5}}室?{_DELIMITER})")
#: A building whose name holds digits or letters (``京基100大厦``).
_MIXED_NAME = re.compile(rf"(?:{_N}|[0-9A-Za-z+&]){{2,12}}?(?:大厦|大楼|公寓|写字楼|商务楼|广场)")
#: A road whose name holds any other character, shown by its house number (``蒙自路207号``).
_LOOSE_ROAD = re.compile(
    rf"(?:{_LOOSE}){{1,6}}?(?:大道|路|街|巷|弄|胡同|村|镇|新村|小区)(?=[0-9]{{1,5}}(?:-[0-9]{{1,4}})?[号弄栋幢])"
)
#: A town or village below a listed division whose name holds any other character (``那满镇``).
_LOOSE_TOWN = re.compile(rf"(?:{_LOOSE}){{1,4}}?(?:街道|镇(?![痛静咳])|乡(?![下村亲镇])|村(?![民里干医])|屯)")
_MEASURE = (
    r"(?![0-9.%:/~+℃]|[ ]?(?:mg|ml|cm|mm|kg|g(?![a-z])|年|月(?!坛)|日|天|岁|次|周|小时|时|分|秒|例|名|个|米|元|公里|"
    r"千米|点|度|斤|"
    r"人|余|多|条|粒|片|支|床|包|瓶|mmol|U))"
)
_CODE = r"(?:[A-Z]-(?=[0-9]))?[A-Za-z]{0,2}[0-9]{1,5}(?:[A-Za-z]{1,3}[0-9]{0,4})?(?:[\-/#~][0-9A-Za-z]{1,6}){0,3}"
_DATE = r"(?!(?:19|20)[0-9]{2}[\-/.年])"
#: A room without unit after a building, an estate or a road: ``12-3-502``, ``C1202``, ``18-D``, ``24FGH``.
_TAIL = re.compile(
    rf"(?!1(?:10|19|20)(?![0-9])){_DATE}[\-_/#]?{_CODE}[甲乙丙丁]?(?:室|房|号|户(?!号)|铺|档|楼|层)?{_MEASURE}(?![A-Za-z])"
)
_LETTER_TAIL = re.compile(rf"[\-]?[A-Z]{{1,2}}{_DELIMITER}")
_BRACKETED = re.compile(r"\([^()\n,，。;；]{1,14}\)")
_SPACED = re.compile(
    rf"(?<=[路街道巷弄号楼村邨里段座期园苑区栋幢元]) [A-Za-z]?[{_DIGITS}]{{0,5}}[A-Za-z]? ?(?:号|楼|室|座|栋|幢|单元|"
    rf"巷|弄)"
)
#: After a room or a building a name with a weak ending is the next word of the sentence (``6号楼停水``).
_WEAK_NAME = re.compile(rf"(?:{_N}){{1,4}}?{_WEAK}")
#: What follows 和 where it is no conjunction (``和平路``, ``和顺镇``).
_HARMONY = frozenset("春平谐美顺睦兴合畅田静丰硕泰盛悦雅煦县政林龙义")
_ROOMS = frozenset("楼元室层户栋幢")
_DASHED = re.compile(r"[\-_/]")
CROSSING = re.compile(
    rf"[与和](?:{_N}){{1,8}}?(?:路|街|大道|道|巷|线)(?:[东西南北中]路)?"
    r"(?:的)?(?:交叉路?口|交叉处|交汇处|交汇口|交汇|交界处|交界|交会处|相交处|相交|交口|路口|口)"
)
_CROSSING_AFTER = re.compile(r"(?:交叉路?口|交叉处|交汇处|交界处|交口|路口)")
_INSTITUTION = re.compile(
    r"(?:[\u4e00-\u9fff]{0,6}?(?:医院|卫生院|卫生室|卫生所|卫生服务|保健院)(?![路街巷东西南北门家宿]))|"
    r"(?:诊所|派出所|小学|中学|公司)(?![路街家宿])"
)


@dataclass(frozen=True)
class Surroundings:
    """What is known before the elements begin.

    Attributes:
        is_labelled: a form field; blanks may part the elements.
        is_anchored: a division, a cue or a label stands before, so names of any form count when a number follows.
        is_division: a listed division ends where the elements begin.
    """

    is_labelled: bool = False
    is_anchored: bool = False
    is_division: bool = False


def read_elements(text: str, at: int, around: Surroundings) -> int:
    """The end of the address elements that start at ``at``; ``at`` itself when there are none."""
    end = at
    for step in range(MAX_STEPS):
        follows = end > at
        reach = _read_step(text, end, around, follows=follows)
        if reach == end and (follows or around.is_anchored):
            reach = _read_bridge(text, end, around, follows=follows)
        if reach == end and step == 0 and around.is_division:
            reach = _match_end(_UNLISTED_DIVISION, text, end)
        if reach == end:
            break
        end = reach
    return end


def _read_step(text: str, at: int, around: Surroundings, *, follows: bool) -> int:
    start = _skip_blank(text, at, around, follows=follows)
    element = _ELEMENT.match(text, start)
    if element is None and (follows or around.is_anchored):
        element = _LOOSE_ROAD.match(text, start)
    if element is None and (follows or around.is_division):
        element = _LOOSE_TOWN.match(text, start)
    if element is None and follows:
        element = _NAMED_AFTER.match(text, start) or _NAMED_TO_END.match(text, start) or _MIXED_NAME.match(text, start)
    elif element is None and around.is_anchored:
        element = _NAMED.match(text, start) or _NAMED_TO_CODE.match(text, start)
    if element is not None and follows and _is_conjunction(text, start):
        element = None
    if (
        element is not None
        and (text[start - 1] in _ROOMS or (text[start - 1].isascii() and text[start - 1] != " "))
        and _is_next_word(text, start, element.end())
    ):
        element = None
    if element is not None and not _INSTITUTION.match(text, start) and not _INSTITUTION.match(text, element.end()):
        return element.end()
    return _read_tail(text, at) if follows else at


def _is_conjunction(text: str, start: int) -> bool:
    return text.startswith("和", start) and text[start + 1 : start + 2] not in _HARMONY


def _is_next_word(text: str, start: int, end: int) -> bool:
    is_name = text[start] not in _DIGITS and not text[end : end + 1].isalnum()
    return is_name and _WEAK_NAME.fullmatch(text, start, end) is not None


def _skip_blank(text: str, at: int, around: Surroundings, *, follows: bool) -> int:
    """One blank may part elements in a form, and a number from its road (``彌敦道 608 號``)."""
    if text[at : at + 1] != " ":
        return at
    if around.is_labelled:
        return at + 1
    is_spaced_number = follows and _SPACED.match(text, at) is not None
    return at + 1 if is_spaced_number else at


def _read_tail(text: str, at: int) -> int:
    if not ("\u4e00" <= text[at - 1] <= "\u9fff" or text[at - 1] in ")#"):
        return at
    match = _TAIL.match(text, at) or _LETTER_TAIL.match(text, at)
    return match.end() if match else at


def _read_bridge(text: str, at: int, around: Surroundings, *, follows: bool) -> int:
    """What may stand between two elements: a bracketed remark, a dash, a crossing road."""
    for pattern in (CROSSING, _CROSSING_AFTER):
        if follows and text[at - 1] in "路街道巷线段" and (match := pattern.match(text, at)):
            return match.end()
    for pattern in (_BRACKETED, _DASHED):
        match = pattern.match(text, at)
        if match:
            reach = _read_step(text, match.end(), around, follows=True)
            return reach if reach > match.end() else at
    return at


def _match_end(pattern: re.Pattern[str], text: str, at: int) -> int:
    match = pattern.match(text, at)
    return match.end() if match else at
