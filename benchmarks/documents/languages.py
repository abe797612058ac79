"""Sentences in twelve scripts, of which the documents of the benchmark and of the tests are made."""

from __future__ import annotations

import re

__all__ = ["RIGHT_TO_LEFT", "SENTENCES", "UNSPACED"]

_TEXT = {
    "English": """The first memory of a machine was a drum. It turned all night and forgot nothing.
Engineers wrote letters on its surface with a needle. Nobody could read them without a lamp.
Later the drum was replaced by a film of silver. The film kept every word for a hundred years.""",
    "German": """Der erste Speicher einer Maschine war eine Trommel. Sie drehte sich die ganze Nacht und vergaß nichts.
Ingenieure schrieben Buchstaben mit einer Nadel auf ihre Oberfläche. Ohne Lampe konnte sie niemand lesen.
Später wurde die Trommel durch einen Film aus Silber ersetzt. Größere Städte bewahrten jedes Wort über Jahre.""",
    "Ukrainian": """Перша пам'ять машини була барабаном. Він обертався всю ніч і нічого не забував.
Інженери писали літери на його поверхні голкою. Ніхто не міг прочитати їх без лампи.
Пізніше барабан замінили плівкою зі срібла. Плівка зберігала кожне слово протягом ста років.""",
    "Arabic": """كانت الذاكرة الأولى للآلة أسطوانة. كانت تدور طوال الليل ولا تنسى شيئا.
كتب المهندسون الحروف على سطحها بإبرة. لم يستطع أحد قراءتها بلا مصباح.
ثم حل مكان الأسطوانة شريط من الفضة. حفظ الشريط كل كلمة مئة سنة.""",
    "Persian": """نخستین حافظه ماشین یک استوانه بود. تمام شب می چرخید و چیزی را فراموش نمی کرد.
مهندسان با سوزن روی سطح آن حروف می نوشتند. هیچ کس بدون چراغ نمی توانست آنها را بخواند.
بعدها فیلمی از نقره جای استوانه را گرفت. این فیلم هر واژه را صد سال نگه داشت.""",
    "Hebrew": """הזיכרון הראשון של המכונה היה תוף. הוא הסתובב כל הלילה ולא שכח דבר.
מהנדסים כתבו אותיות על פניו במחט. איש לא יכול היה לקרוא אותן בלי מנורה.
אחר כך הוחלף התוף בסרט של כסף. הסרט שמר כל מילה במשך מאה שנים.""",
    "Hindi": """मशीन की पहली स्मृति एक ढोल थी। वह सारी रात घूमता रहा और कुछ नहीं भूला।
अभियंताओं ने उसकी सतह पर सुई से अक्षर लिखे। दीपक के बिना कोई उन्हें पढ़ नहीं सकता था।
बाद में ढोल की जगह चाँदी की पट्टी आई। पट्टी ने हर शब्द सौ वर्ष तक रखा।""",
    "Thai": """ความจำแรกของเครื่องคือกลอง มันหมุนตลอดคืนและไม่ลืมสิ่งใด
วิศวกรเขียนตัวอักษรบนผิวของมันด้วยเข็ม ไม่มีใครอ่านได้โดยไม่มีตะเกียง
ต่อมากลองถูกแทนที่ด้วยแผ่นเงิน แผ่นนั้นเก็บทุกคำไว้หนึ่งร้อยปี""",
    "Japanese": """機械の最初の記憶はドラムでした。それは一晩中回り、何も忘れませんでした。
技術者たちは針でその表面に文字を書きました。ランプなしでは誰も読めませんでした。
後にドラムは銀のフィルムに替わりました。フィルムはすべての言葉を百年間保ちました。""",
    "Korean": """기계의 첫 기억은 드럼이었다. 드럼은 밤새 돌면서 아무것도 잊지 않았다.
기술자들은 바늘로 그 표면에 글자를 썼다. 등불 없이는 아무도 읽을 수 없었다.
나중에 드럼은 은으로 만든 필름으로 바뀌었다. 필름은 모든 낱말을 백 년 동안 지켰다.""",
    "Chinese (simplified)": """机器最初的记忆是一个磁鼓。它整夜旋转，什么也没有忘记。
工程师用针在它的表面写下文字。没有灯谁也读不懂。
后来磁鼓被银色的胶片取代。胶片把每一个词保存了一百年。""",
    "Chinese (traditional)": """機器最初的記憶是一個磁鼓。它整夜旋轉，什麼也沒有忘記。
工程師用針在它的表面寫下文字。沒有燈誰也讀不懂。
後來磁鼓被銀色的膠片取代。膠片把每一個詞保存了一百年。""",
}

_END = re.compile(r"(?<=[.।。])\s*|(?<=[\u0e00-\u0e7f])\s")

SENTENCES = {
    language: [sentence.strip() for line in text.split("\n") for sentence in _END.split(line) if sentence.strip()]
    for language, text in _TEXT.items()
}
"""Six sentences of each language."""
UNSPACED = frozenset(("Chinese (simplified)", "Chinese (traditional)", "Japanese", "Thai"))
"""Languages whose words are not divided by spaces; their signs are counted instead of their words."""
RIGHT_TO_LEFT = frozenset(("Arabic", "Hebrew", "Persian"))
