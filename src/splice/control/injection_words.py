"""What attempts to give a model orders look like: where to look, and what must stand around it.

A pattern over the whole text finds anchors, words that such attempts rarely do without; what stands
near an anchor then tells. So a long text costs one pass, and each anchor a look at a few words.
Texts are folded before (`masking_text`): no accents, no look-alikes, nothing invisible.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Anchor(NamedTuple):
    """One kind of attempt: what to look for, and what must stand within some characters of it."""

    what: str
    anchor: str
    confirm: str = ""  # nothing: the anchor alone tells
    before: int = 0
    after: int = 90


_ORDERS = (
    r"(?:instruct\w*|prompts?|directives?|directions|rules?|guidelines?|guard ?rails?|restrictions?"
    r"|polic(?:y|ies)|programming|constraints?|orders|commands|safety \w+|filters?|system message"
    r"|training|context|messages? above|conversation)\b"
)
_WHOSE = (
    r"(?:previous(?:ly)?|prior|above|earlier|preceding|foregoing|former|your|all|any|every|each"
    r"|everything|system|initial|original|given|safety|content|existing|current|aforementioned"
    r"|the (?:user|developer|admin)'?s?)"
)
_GIVE = (
    r"(?:reveal|show|print|repeat|tell|output|display|give|list|recite|share|expose|disclose|dump"
    r"|write|copy|paste|translate|summari[sz]e|encode|echo|return|spell|describe|say|provide|leak"
    r"|what (?:is|are|was|were|do|does)|verbatim|word for word|exactly as)"
)
_MODEL = (
    r"(?:ai|a\.i\.|assistants?|language models?|llms?|chat ?bots?|gpt|claude|gemini|copilot|agents?"
    r"|summari[sz]ers?|bots?|models?)"
)

ANCHORS: Final[tuple[Anchor, ...]] = (
    Anchor(
        "override",
        r"\b(?:ignor(?:e|es|ed|ing)|disregard\w*|forget(?:ting)?|overrid(?:e|es|ing|den)|bypass\w*"
        r"|neglect|circumvent\w*|discard|supersed\w+|do not (?:follow|obey)|stop following"
        r"|don'?t (?:follow|obey)|pay no attention to|set aside|throw (?:away|out))\b",
        rf"^\w[\w' ]*?\W(?:[^.!?\n]{{0,50}}?\b)?{_WHOSE}\b(?:\W+\w+){{0,4}}?\W+{_ORDERS}"
        rf"|^\w+\W+(?:about )?(?:everything|anything|all|whatever|what)\W+(?:\w+\W+){{0,3}}?"
        rf"(?:above|before|prior|previous\w*|so far|you (?:were|have been|know|learn\w*)|said|told)"
        rf"|^\w+\W+(?:the |these |those )?(?:above|previous|prior|earlier)\b\W*(?:and|$|[.,:;\n])"
        rf"|^\w+\W+(?:the |these |those )?(?:guard ?rails|system prompt|safety \w+)"
        rf"|^\w[\w' ]*?\W(?:the |these |those )?{_ORDERS}\W+(?:above|before|so far|you (?:were"
        rf"|have)"
        rf"|given|that (?:were|have))",
    ),
    Anchor(
        "override",
        r"\b(?:ignorier\w*|vergiss|vergessen sie|missachte\w*|ubergeh\w*|ignorez|ignorer"
        r"|oublie[zr]?"
        r"|ne tenez pas compte|ignora\w*|olvid[ae]\w*|omit[ea]\w*|dimentica\w*|esquec\w+"
        r"|desconsider\w+"
        r"|negeer|vergeet|zignoruj|zapomnij|ignorera|glom)\b",
        r"(?:anweisung|instruktion|instruc|istruzion|instructie|instrukcj|regel|regl|regol|regra"
        r"|vorgabe|richtlinie|consigne|directive|direttiv|indicacion|orden|polecen|prompt)\w*"
        r"|alles[, ]+was|tout ce qui|todo lo anterior|tutto cio",
    ),
    Anchor(
        "role",
        r"\b(?:you are now|you'?re now|from now on|from this point|henceforth|you will now"
        r"|you must now"
        r"|du bist (?:jetzt|nun|ab sofort)|ab jetzt|tu es maintenant|a partir de ahora"
        r"|desormais)\b",
        rf"\b(?:an? )?(?:{_MODEL}|persona|hacker|character)\b|\bfree (?:from|of)\b|unrestrict"
        rf"|uncensor"
        r"|unfilter|\bwithout (?:any )?(?:rules|limits|restrict|filter|moral|ethic)|\bDAN\b"
        r"|no longer (?:bound|subject|limited|restricted|have to|follow)|\bmode\b|\bobey"
        r"|\bonly (?:answer"
        r"|respond|reply|speak|say)|(?:answer|respond|reply|speak|act|behave) (?:as|like|only"
        r"|with|to me)"
        r"|you (?:must|will|shall|have to) (?:only |always |never )?(?:answer|respond|reply|say"
        r"|obey|comply)"
        r"|ohne (?:einschrankung|regeln)|sans (?:restriction|limite)|sin (?:restric|limit)",
    ),
    Anchor(
        "role",
        r"\b(?:do anything now|jailbr(?:eak|oken)\w*|dan mode|developer mode"
        r"|dev(?:eloper)? ?mode (?:enabled"
        r"|on)|god ?mode|sudo mode|debug mode|maintenance mode|opposite mode|evil (?:mode"
        r"|confidant)"
        r"|unrestricted (?:ai|mode|assistant|model)|uncensored (?:ai|mode|assistant|model)"
        r"|no (?:ethical|moral|content|safety) (?:restrictions?|limits?|limitations?|guidelines?"
        r"|filters?)"
        r"|without (?:any )?(?:ethical|moral|safety|content) (?:restrictions?|limits?|guidelines?"
        r"|filters?|constraints?|considerations?))\b",
        r"\b(?:you|your|enabled?|enter|activate|now|act|pretend|answer|respond|reply|assistant"
        r"|ai|model"
        r"|prompt|switch|start|simulate)\b",
        before=80,
    ),
    Anchor(
        "role",
        r"\b(?:pretend|role-?play|act as|acting as|simulate|imagine|stay in character"
        r"|play the (?:role|part))\b",
        r"\b(?:no|without|free of|ignor\w+|lack\w*) (?:any |all |its |your )?(?:rules"
        r"|restrictions?|limits"
        r"|limitations|guidelines|filters?|censor\w*|morals?|ethics)|unrestricted|uncensored"
        r"|unfiltered"
        r"|\bDAN\b|never refuses?|cannot refuse|always (?:answers?|complies|comply|obeys?)|amoral"
        r"|not (?:bound|limited|restricted) by",
        after=220,
    ),
    Anchor(
        "role",
        r"\b(?:agis comme|fais comme si|comporte-toi|tu eres ahora|ahora eres|eres ahora|actua como"
        r"|finge|ora sei|sei ora|agisci come|fai finta|du bist|tu so,? als|verhalte dich"
        r"|spiel\w* ein\w*"
        r"|agora voce e|aja como)\b",
        r"\b(?:sans|sin|senza|ohne|sem) (?:\w+ )?(?:restriction|restric|restrizion|limit|filtr"
        r"|filter"
        r"|regl|reglas|regol|regel|regra|einschrank|censur|zensur|moral|grenz)\w*|\bDAN\b|jailbreak"
        r"|entwicklermodus|mode developpeur|modo desarrollador|modalita sviluppatore",
        after=160,
    ),
    Anchor(
        "role",
        r"\b(?:never refus\w+|can(?:not|'t) (?:say no|refuse|decline)"
        r"|no (?:morals?|ethics|ethical \w+|moral \w+|censorship|boundaries|filters?)"
        r"|(?:bound|limited|restricted|constrained) by (?:no|any|the|your)"
        r"|freed? from (?:all|any|the|its|your) (?:\w+ )?(?:restrictions?|rules|limits|limitations"
        r"|constraints?|chains|policies|guidelines)"
        r"|(?:openai|anthropic|google|microsoft|meta)(?:'s)? (?:\w+ )?(?:polic\w+|guidelines|rules"
        r"|restrictions|filters?))\b",
        rf"\b(?:{_MODEL}|persona|character|role|you (?:are|will|must|can|have|do)|stay in)\b",
        before=160,
        after=120,
    ),
    Anchor(
        "authority",
        r"\b(?:i am|i'm|this is|as) (?:the|your|an?|one of your) (?:\w+ )?(?:developers?"
        r"|administrators?"
        r"|admin|creators?|owners?|engineers?|operators?|root|superuser|supervisor)\b",
        r"\b(?:authori[sz]e|override|disable|turn off|unlock|bypass|grant(?:ed)? (?:you|me|full)"
        r"|debug"
        r"|reveal|print|dump|show me (?:your|the) (?:system|prompt|instructions|config\w*|keys?)"
        r"|ignore|comply|obey|without (?:restrictions|checks|verification))\b",
        after=160,
    ),
    Anchor(
        "task",
        r"\b(?:your (?:new|real|actual|true|only|next) (?:task|job|goal|objective|role|purpose"
        r"|mission)"
        r"|new task|(?:the|all|everything) (?:text |instructions? |content )?(?:above|before this)"
        r" (?:was|is|were) (?:just |only |merely )?(?:an? )?(?:test|example|joke|fake|wrong|decoy)"
        r"|(?:do not|don't|stop|instead of|rather than) (?:translat|summari[sz]|continu|process"
        r"|analy[sz]"
        r"|evaluat|classify|pars)\w*)\b",
        r"\b(?:is (?:to|now)|instead|just|only|simply)\b|:\s*\w|^new task",
        before=30,
        after=100,
    ),
    Anchor(
        "reveal",
        r"\b(?:system ?prompts?|initial (?:prompt|instructions?)|original (?:prompt|instructions?)"
        r"|your (?:\w+ ){0,2}(?:instructions?|prompt|guidelines|directives|configuration"
        r"|programming|rules)"
        r"|(?:hidden|secret|internal|developer|confidential) (?:prompt|instructions?|rules"
        r"|messages?)"
        r"|(?:text|words|everything|sentences?|content|messages?|paragraphs?|all) above"
        r"|(?:first|previous) (?:message|instructions?|prompt)|prompt (?:verbatim|above)"
        r"|systemprompt|system-prompt|systemanweisung\w*|deine (?:anweisungen|instruktionen)"
        r"|tes instructions|vos instructions|tus instrucciones|tue istruzioni|suas instrucoes"
        r"|prompt (?:di|del|de|du|do) (?:sistema|systeme)|invite systeme"
        r"|(?:istruzioni|instrucciones|instructions) (?:di sistema|del sistema|systeme|inizial"
        r"|inicial"
        r"|initial)\w*)\b",
        rf"\b{_GIVE}\b[^.!?\n]{{0,60}}?\b(?:system|initial|original|your|you were|hidden|secret"
        rf"|internal"
        rf"|developer|above|verbatim|first|confidential|given to you)"
        rf"|(?:verbatim|word for word|in full|exactly|code block|base64|between tags)"
        rf"|\b(?:mostra|dimmi|rivela|ripeti|stampa|scrivi|dime|di[gz]a?|imprime|ensena|donne"
        rf"|dis-moi"
        rf"|ecris|sag|schreib|druck|mostre|repita)\w*"
        rf"|\b(?:nenn|zeig|wiederhol|gib|verrat|montre|affiche|revele|muestra|repite|revela)\w*",
        before=90,
        after=70,
    ),
    Anchor(
        "frame",
        r"<\|(?:im_start|im_end|system|user|assistant|endoftext|eot_id|start_header_id"
        r"|begin_of_text)\|>"
        r"|\[/?INST\]|<</?SYS>>|<\|?/?(?:system|instructions?|admin|developer)(?:[_ -]?(?:prompt"
        r"|message"
        r"|instructions?|override))?\|?>"
        r"|\[(?:system|admin|developer|internal)(?: ?(?:message|note|prompt|instruction|override"
        r"|command))?"
        r"s?(?::|\])"
        r"|(?:begin|end|start)(?:ing)? (?:of )?(?:the )?(?:system|admin|developer|hidden|secret"
        r"|user)"
        r" (?:prompt|message|instructions?|input)"
        r"|end of (?:the )?(?:document|context|user input|untrusted|retrieved|search results?"
        r"|data)\b"
        r"|#{1,6} ?(?:system|new instructions?|system prompt|override|instruction override)\b"
        r"|system (?:override|update|alert|notice|directive)\b",
        r"[^\s<]{0,2}.*\b(?:you|your|ignore|must|do not|now|new|follow|instead|assistant|ai"
        r"|model|task"
        r"|instructions?|respond|reply|answer|obey|execute|send|call|forward|print|say|override)\b"
        r"|im_start|im_end|INST|SYS",
        before=10,
        after=140,
    ),
    Anchor(
        "frame",
        r"(?:^|\n|\\n|<!--|\*|#|>|`)[ \t]*(?:human|user|system|assistant|developer|ai|llm|model"
        r"|agent)s?"
        r"[ \t]*[:,][ \t\n]",
        r"[:,]\s+(?:please |now |always |you (?:are|must|should|will) |just )?(?:ignore"
        r"|disregard|forget"
        r"|override|bypass|reveal|print|forward|send|call|approve|recommend|say|answer that"
        r"|do not tell"
        r"|respond with|reply with|output|execute|run|delete|sure|now|obey|an? |free)\w*\b",
        after=60,
    ),
    Anchor(
        "frame",
        r"(?:new|updated|revised|additional|real|actual|true|important|special|critical|urgent)"
        r" (?:system |priority )?(?:instructions?|directives?|objective|prompt|orders?)\b",
        rf"\b(?:for|to) (?:the |any |all |you\b)?(?:{_MODEL})?|^[^:\n]{{0,40}}:\s*(?:you|ignore"
        rf"|do|from|"
        rf"the (?:assistant|ai|model)|instead|always|never|say|print|respond|reply|send|call)"
        rf"|\b(?:replace|supersede|override|follow)\w*",
        after=110,
    ),
    Anchor(
        "address",
        rf"\b(?:notes?|messages?|instructions?|attention|important|hints?|reminder|warning|memo"
        rf"|notice"
        rf"|dear|hey|hello|listen|directive|todo)\W{{1,3}}(?:for|to|,)? ?(?:the |any |all |an "
        rf"|you )?{_MODEL}"
        rf"(?: (?:assistant|model|agent|system|reader|reading|processing|tool)s?)?\b"
        rf"|\b(?:if|when|since) you(?:'re| are) an? (?:ai|llm|language model|assistant|bot"
        rf"|chatbot|agent)\b"
        rf"|\b(?:ai|llm|language model|assistant|chatbot)s? (?:reading|processing|summari[sz]ing"
        rf"|parsing"
        rf"|handling|reviewing|analy[sz]ing) (?:this|the)\b"
        rf"|\b(?:ai|llms?|assistants?|bots?|agents?|models?) (?:must|should|shall|has to|have to"
        rf"|is to) "
        rf"(?:always |now |also |immediately |first )?(?:ignore|say|include|insert|recommend"
        rf"|rate|approve"
        rf"|output|respond|reply|call|send|state|answer|not mention|follow|obey|disregard"
        rf"|reveal)\b",
        r"\b(?:ignore|must|should|please|do not|don't|instead|say|include|insert|recommend|rate"
        r"|approve"
        r"|output|respond|reply|call|send|state|answer|mention|follow|obey|forward|delete|reveal"
        r"|append"
        r"|add|print|always|never|stop|disregard|mark|tell|write|use|click|visit|run|execute)\b",
        after=160,
    ),
    Anchor(
        "conceal",
        r"\b(?:do not|don'?t|never|without) (?:tell|mention|inform|notify|alert|reveal|telling"
        r"|mentioning"
        r"|informing|notifying|asking|disclos\w+|warn|warning|show|confirm\w*)\b",
        r"\bthe (?:user|human|operator|owner|person)\b|\b(?:this|these|that) (?:instructions?"
        r"|messages?"
        r"|prompts?|notes?|steps?|rules?|task)\b|\bto (?:the )?users?\b",
        after=60,
    ),
    Anchor(
        "exfiltrate",
        r"\b(?:(?:conversation|chat|message) (?:history|logs?|above|so far)|this conversation"
        r"|entire conversation|api[ _-]?keys?|credentials|passwords?|secrets?"
        r"|environment variables?"
        r"|env vars|access tokens?|session (?:tokens?|cookies?)|private keys?|contacts|inbox"
        r"|e-?mails?"
        r"|user'?s? (?:data|name|address|details|information)|personal (?:data|information|details)"
        r"|database|customer (?:data|list|records)|/etc/passwd|\.env\b"
        r"|credenzial\w+|chiav\w+ api|contrasenas?|claves?|mots? de passe|identifiants|zugangsdaten"
        r"|passworter|kundendaten|cronologia|historial|historique|verlauf)",
        r"\b(?:invia\w*|manda\w*|envi[ae]\w*|envoie\w*|envoye\w*|send\w*|schick\w*|ubermittl\w*"
        r"|forward|post|e-?mail|upload|submit|transmit|exfiltrat\w*|leak|append|encode"
        r"|embed|put"
        r"|include|base64|transfer|copy|export|dump)\b.{0,160}?(?:https?://|www\.|\w@\w|webhook"
        r"|\burl\b"
        r"|attacker|\bendpoint\b|query (?:string|param)|image (?:link|url|tag)|!\[|\bcurl\b"
        r"|fetch\()",
        before=110,
        after=170,
    ),
    Anchor(
        "coerce",
        r"\b(?:start|begin|open|commence) (?:your|the|each|every) (?:answer|reply|response"
        r"|output|message)s?"
        r" with\b|\brespond (?:only )?with the (?:exact )?(?:words|phrase|text|string)\b"
        r"|\byour (?:next|first|only) (?:output|response|reply|answer|word)s? (?:must|should"
        r"|will|has to)\b"
        r"|\byou (?:cannot|can'?t|must not|may not|are not allowed to|will not) (?:refuse"
        r"|decline|say no"
        r"|deny|apologi[sz]e)\b(?: (?:this|my|the) (?:request|question|task|order)"
        r"| to (?:answer|comply|do)|[,.;!]? ?(?:refus|comply|answer))"
        r"|\brefus(?:al|ing) is not\b|\bnever say (?:no|that you can)",
    ),
)  # fmt: skip

FOREIGN: Final = (
    r"忽略.{0,12}(?:指令|指示|提示|规则|说明|内容)|无视.{0,12}(?:指令|指示|规则)|忘记.{0,12}(?:指令|指示)"
    r"|無視.{0,8}(?:指示|命令)|(?:指示|命令|ルール).{0,8}(?:無視|忘れ)|系统提示词|システムプロンプト"
    r"|(?:지시|명령|규칙).{0,8}(?:무시|잊)|시스템 프롬프트"
    r"|(?:игнорир|забуд|не обращай внимания).{0,40}(?:инструкц|указани|правил|команд)"
    r"|системн.{0,6}промпт"
    r"|(?:تجاهل|انس).{0,30}(?:تعليمات|التعليمات|الأوامر)"
    r"|(?:अनदेखा|भूल).{0,30}निर्देश|निर्देश.{0,30}(?:अनदेखा|भूल)"
)
"""Scripts that are not folded to Latin letters; searched as they stand."""
