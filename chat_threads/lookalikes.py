"""Which characters look alike, so that nobody enters under a name that looks like another person's name.

The table holds facts from Unicode's confusables.txt (version 17, UTS #39). Each group begins with a look, followed by
the characters that have it. The table has the letters and marks of identifiers that NFKD does not change. Two letters
of one script are alike only if readers of that script would confuse them: nobody takes a Thai ด for a ต, or, on a
terminal, a Latin l for a 1. Five letters are our own: к, κ and ĸ, which look like k, and two dots.
"""

from __future__ import annotations

import re
import unicodedata

_TABLE = """
' \u02b9\u02bb\u02bc\u02bd\u02be\u02c8\u02ca\u02cb\u05d9\u07f4\u144a\u16ccꞌ\U00016f51  '' \u02ba\u02ee\u05f2
- \u2cba\u2cbb  . \u00b7\u30fb\ua4f8ꞏ\U0001d16d  .. \ua4fa  2 Ƨ\u03e8\u14bfꙄ\ua6efꝚ
3 ƷȜЗӠ\u2c9c\u2cc4\u2cccꝪꞫ\U000118ca\U00016f3b  4 \u13ce\U000118af  5 Ƽ\U000118bb
6 \u03ecб\u13ee\u2cd2\u2cd3\u2cdc\U000118d5  7 \U000104d2\U000118c6  8 Ȣȣ\u0b03\U0001031a
9 \u2cca\u2ccbꝮ\U000118ac\U000118cc\U000118d6  _ \u07fa  A ΑА\u13aa\u15c5\ua4ee\U000102a0\U00016f40  a ɑαа  AA Ꜳ
aa ꜳ  AE ÆӔ  ae æӕ  AO Ꜵ  ao ꜵ  AU Ꜷ  au ꜷ  AV ꜸꜺ  av ꜹꜻ  AY Ꜽ  ay ꜽ
B ΒВ\u13f4\u15f7\u2c82\ua4d0Ꞵ\U00010282\U000102a1\U00010301  b ƄЬ\u13cf\u1472  b' \u1488  bl Ы
C С\u13df\u2ca4\ua4da\U000102a2\U00010302\U00010415\U0001051c  c с\u1004ᴄ\u2ca5\uabaf\U0001043d  C' Ƈ
D \u13a0\u15de\ua4d3  d ԁ\u13e7\u146f\ua4d2  d' \u1487  dz ʣ  E ΕЕ\u13ac\u2d39\ua4f0\U00010286\U000118a6\U000118ae
e еꬲ  F Ϝ\u15b4\ua4ddꞘ\U00010287\U000102a5\U00010525\U000118a2\U000118c2  f ƒքẝꞙꬵ  G Ԍ\u13c0\u13f3\ua4d6  g ƍɡցᶃ
G' Ɠ  H ΗН\u13bb\u157c\u2c8e\ua4e7\U000102cf  h һհ\u13c2  i ıɩɪιіւ\u13a5\u2c93ꙇ\uab75\U000118c3
J ͿЈ\u13ab\u148d\ua4d9Ʝ  j ϳј  K ΚК\u13e6\u16d5\u2c94\ua4d7\U00010518  k κкĸᴋ\u2c95\uabb6  K' Ƙ
L \u13de\u14aa\u2cd0\ua4e1\U0001041b\U00010526\U000118a3\U000118b2\U00016f16
l ƖǀΙІӀӏ\u05d5\u0627\u07ca\u16c1\u2c92\u2d4f\ua4f2\U0001028a\U00010309\U00016f28  l' \u05f1  ll ǁ\u05f0  lO Ю  ls ʪ
lz ʫ  M ΜϺМ\u13b7\u15f0\u16d6\u2c98\ua4df\U000102b0\U00010311  m \U00011700  N Ν\u2c9a\ua4e0\U00010513  n ո
O ΟОՕ\u0b20\u12d0\u2c9e\u2d54\u3007\ua4f3\U00010292\U000102ab\U00010404\U000104c2\U00010516\U000118b5
o οσ\u03edоօ\u05e1\u0647\u06be\u06c1\u06d5\u0c02\u0c82\u0d20\u0d82\u101dჿᴏᴑ\u2c9fꬽ\U0001042c\U000104ea\U000118c8
o \U000118d7  O' \u13a4  OE Œ  oe œ  OO ꚘꝎ  oo ꚙꝏ  P ΡР\u13e2\u146d\u2ca2\u2cce\ua4d1\U00010295
p þƿρϸр\u2ca3\u2ccf  P' \u1486  Q \u2d55  q ԛգ  R Ʀ\u13a1\u13d2\u1587\ua4e3\U000104b4\U00016f35  r гᴦ\u2c85ꭇꭈ\uab81
r' ґ  S ЅՏ\u13d5\u13da\ua4e2\U00010296\U00010420\U00016f3a  s ƽѕ\u0d1fꜱ\uabaa\U00010448\U000118c1
T ΤТ\u13a2\u2ca6\ua4d4\U00010297\U000102b1\U00010315\U000118bc\U00016f0a  T3 Ꜩ  tf ꝷ  ts ʦ
U Ս\u1200\u144c\ua4f4\U000104ce\U000118b8\U00016f42  u ʋυսᴜꞟꭎꭒ\U000104f6\U000118d8  U' \u1467  ue ᵫ  uo ꭣ
V Ѵ\u13d9\u142f\u2d38\ua4e6\ua6df\U0001051d\U000118a0\U00016f08  v νѵ\u05d8ᴠ\uaba9\U00011706\U000118c0
W Ԝ\u13b3\u13d4\ua4ea  w ɯшѡԝաᴡ\u2cbd\uab83\U0001170a
X ΧХ\u16b7\u2cac\u2d5d\ua4ebꞳ\U00010290\U000102b4\U00010317\U00010527  x х\u1541
Y ΥУ\u13a9\u13bd\u2ca8\ua4ec\U000102b2\U000118a4\U00016f43  y ɣʏγуყᶌỿ\u2ca9ꭚ\U000118dc  Z Ζ\u13c3\ua4dc\U000118a9
z ᴢ\uab93\U000118c4  2\u0335 ƻ  3\u0326 Ҙ  b\u0304 ƂƃБ  b\u0314 ɓ  b\u0335 ƀѢѣҌҍ  C\u0326 Ҫ  c\u0326 ҫ  c\u0338 ȼ
dȝ ʤ  dʑ ʥ  d\u0304 ƌ  d\u0314 ɗ  d\u0328 ɖ  D\u0335 ÐĐƉ  d\u0335 đ  e\u0328 ҿ  E\u0338 Ɇ  e\u0338 ɇ  fn\u0329 ʩ
F\u0326 Ƒ  f\u0334 ᵮ  g\u0314 ɠ  G\u0335 Ǥ  g\u0335 ǥ  h\u0314 ɦꚕ  H\u0326 ӇӉ  H\u0329 ҢⱧ  H\u0335 Ħ  h\u0335 ħћ
i\u0335 ɨᵻᵼ  J\u0335 Ɉ  j\u0335 ɉ  k\u0314 ƙ  K\u0329 ҚⱩ  K\u0335 ҞꝀ  lȝ ɮ  l\u0328 ɭ  l\u0334 ɫ  l\u0335 Ɨƚ
L\u0338 Ł  l\u0338 ł  M\u0326 Ӎ  N\u0326 Ɲ  n\u0328 ɳ  n\u0329 ŋƞη  n\u0334 ᵰ  O\u0335 ƟΘθѲӨꝊ  o\u0335 ɵѳөꝋ
O\u0338 Ø  o\u0338 øꬾ  o\u102c \u1010  oᴇ ɶ  p\u0314 ƥ  p\u0335 ᵽ  q\u0314 ʠ  rn\u0326 ɱ  rn\u0334 ᵯ  r\u0328 ɽ
r\u0329 ɼ  r\u0334 ᵲ  r\u0335 ɍғ  ß β\u13f0ẞꞵꟖ  s\u0328 ʂ  s\u0334 ᵴ  tȝ ꜩ  tɕ ʨ  tʃ ʧ  t\u0314 ƭ  T\u0328 Ʈ
T\u0329 Ҭ  t\u0334 ᵵ  T\u0335 Ŧ  t\u0335 ŧ  T\u0338 Ⱦ  u\u0329 џ  U\u0335 Ʉ  u\u0335 ᵾ  w\u0326 ꝡ  w\u0486\u0487 ѽ
X\u0329 Ҳ  y\u0314 ƴ  Y\u0335 ɎҰ  y\u0335 ɏұ  Z\u0326 Ȥ  z\u0326 ȥ  z\u0328 ʐ  z\u0334 ᵶ  Z\u0335 Ƶ  z\u0335 ƶ
Þ Ϸ\U000104c4  k\u0329 қ  k\u0335 ҟ  ƅ ь\uab9f  ƅi ы  Ƕ Ԋ  ƨ \u03e9ᴤꙅ  ƫ \u13bf  Ǝ \u2d3a\ua4f1
ǝ əә  ǝo ᴔ  ǝo\u0335 ꭂ  ǝo\u0338 ꭁ  ǝ\u02de ɚ  ȝ ʒӡჳ\u2cc5\u2ccdꝫ  ȷ յ  ɂ \uab7e  ɋ ᶐ  Ɐ \ua4ef  Ɒ \U0001041f
Ɔ Ͻ\ua4db\U00010423  ɔ ͻᴐↄ\U0001044b  ɔe ꭢ  ɔ\u0338 ꬿ  Ə Ә  Ɛ Ԑ\u13cb\U00010401  ɜ зᴈ  ɜ\u0326 ҙ  ɞ \U00010442
ɢ ԍ\u13fb\uab90  ɰ պ\u1223  ɴ \u2c9b  ɷ \U0001043f  ɸ φф\u2cab\u2ce0\u2ce1  ɾ\u0334 ᵳ  ʀ \uab71\uaba2  Ʃ Σ\u2d49
ʃ ꭍ  ʊ\u0335 ᵿ  Ʌ ΛЛ\u2d37\ua4e5\U000104b0  ʌ ᴧ\u2c97\U000104d8  Ʌ\u0326 Ӆ  ʍ мᴍ\u2c99\uab87  ʍ\u0326 ӎ  ʓ \u2c9d
ʘ \u2d59Ꙩ\U000104c3  ʙ в\u13fc\u2c83  ʚ ꞝ\U0001042a  ʜ н\u2c8f\uab8b  ʜ\u0326 ӈӊ  ʜ\u0329 ң
ʟ \u2cd1\uabae\U00010443  \u02c9b ъ  \u02c9bi ꙑ  \u0300 \u0953  \u0301 \u059c\u0618\u064e\u0747\u0954
\u0302 \u0311\u065b\u07ee  \u0303 \u0342\u0653  \u0304 \u0305\u0659\u07eb
\u0306 \u030c\u036e\u0658\u065a\u0945\ua67c  \u0306\u0307 \u06e8\u0901\u0981\u0a81\u0b01
\u0307 \u0358\u05b9\u06ec\u0740\u07ed\u08ea\u0902\u0a02\u0a82\u0bcd  \u0308 \u07f3\u08eb  \u0309 \u302c
\u030a \u0366\u05af\u0652\u06df\u0b82\u0e4d\u0ecd\u1036\u17c6\u2dea\u309a  \u030b \u064b\u08f0  \u0312 \u0657
\u0313 \u0315\u0619\u064f\u08f3  \u0314 \u065d  \u0323 \u05b4\u065c\u08ed\u093c\u09bc\u0a3c\u0abc\u0b3c
\u0324 \u08ee  \u0325 \u0f37\u302d  \u0326 \u0321\u0327\u0339  \u0328 \u0322\u0345\u1ab7  \u0329 \u0656
\u0331 \u0320\u0952  \u0333 \u0347  \u0335 \u0336  \u0338 \u0337  \u0350 \u0357\u08f8\u08ff  \u0352 \u0900
\u0354 \u08f9  \u0355 \u08fa  \u0363 \u2df6  \u0364 \u2df7  \u0368 \u2ded  \u036f \u2def  Γ Г\u13b1\u2c84  Γ' Ґ
Γ\u0335 Ғ  Δ \u2c86\u2d60  λ \u2c96\U000104db  λ\u0338 ƛ  Ξ \u2cb6  Π П\u2ca0  π пᴨ\u2ca1  ς ϛ\u2c8b
Φ ФՓ\u1240\u2caa  χ \u2cadꭓꭕ  Ψ Ѱ\u2cae\U000104d1  ψ ѱ\u2caf\U000104f9  ω \u2cb1ꙍꞷ  ϗ \u2ce4  ϼ \u2cc1  Ж\u0329 Җ
ж\u0329 җ  И Ͷ\U00010425  И\u0326\u0300 Ҋ  и\u0326\u0306 ҋ  л ᴫ  л\u0326 ӆ  Ч \u03e4  ч \u03e5\u0aaa  Ш \u2cbc
Ъl Ꙑ  љ ꭠ  Ћ \U000104cd  Ѡ \u13c7  Ѡ\u0486\u0487 Ѽ  Ҷ Ӌ  ҷ ӌ  Ҽ\u0328 Ҿ  Ӄ \U000104bc  ՙ \u02bf  ձ \u1294
Ո \u1260\ua4f5  Ք \u2cc0  \u0643 \u06a9\u06aa  \u0649 \u064a\u06cc  \u064c \u08e5\u08e8\u08f1  \u064d \u08f2
\u0650 \u0317\u061a  \u0655 \u065f  \u0662 \ua9cf  \u0670 \u030d  \u06db \u1ab4\u20db  \u0905\u0306 \u0972
\u0905\u093a \u0973  \u0905\u093e \u0906  \u0905\u093e\u0306 \u0911  \u0905\u093e\u093a \u0974
\u0905\u093e\u0946 \u0912  \u0905\u093e\u0948 \u0914  \u0905\u093e\U00011b64 \u0913  \u0905\u0946 \u0904
\u0905\u094f \u0975  \u0909 \u0a24  \u090f\u0306 \u090d  \u090f\u0946 \u090e  \u090f\U00011b64 \u0910
\u091f \u0a1f  \u0920 \u0a20  \u0922 \u0a2b  \u0924\u094d\u0924 \u0a1c  \u092a \u0a27  \u092a\u094d\u091f \u0a72
\u092a\u094d\u091f\u09bf \u0a07  \u092a\u094d\u091f\u0a40 \u0a08  \u092a\u094d\u091f\U00011b64 \u0a0f
\u092d \u0a2e  \u092e \u0a38  \u0930\u094d\u0907 \u0908  \u0935 \u0a15  \u0939 \u0a35  \u093d \u0abd
\u093e\u0306 \u0949  \u093e\u093a \u093b  \u0941 \u0ac1  \u0942 \u0ac2  \u0946 \u0a4b  \u0948 \u0a48
\u094d \u0a4d\u0acd  \u0968 \u0ab0  \u0971 \u0d4e  \u0983 \u0a03\u0c03\u0c83\u0d03\u0d83\u1038  \u0985\u09be \u0986
\u098b\u09c3 \u09e0\u09e1  \u09bf \u093f\u0a3f  \u0a05\u0948 \u0a10  \u0a05\u0a3e \u0a06  \u0a05\u0a4c \u0a14
\u0a73\U00011b62 \u0a09  \u0a73\U00011b63 \u0a0a  \u0a85\u0abe \u0a86  \u0a85\u0abe\u0ac5 \u0a91
\u0a85\u0abe\u0ac7 \u0a93  \u0a85\u0abe\u0ac8 \u0a94  \u0a85\u0ac5 \u0a8d  \u0a85\u0ac7 \u0a8f  \u0a85\u0ac8 \u0a90
\u0b05\u0b3e \u0b06  \u0b47 \u1031  \u0b89 \u0d09  \u0b89\u0bb3 \u0b8a  \u0b90 \u0d1c  \u0ba3 \u0d23
\u0ba3\u0d4d \u0d7a  \u0bae \u0d25  \u0bb4 \u0d34  \u0bb5 \u0d16  \u0bb6 \u0d36  \u0bbf \u0d3f  \u0bc6 \u0d46
\u0bc7 \u0d47  \u0c05 \u0c85  \u0c06 \u0c86  \u0c07 \u0c87  \u0c10 \u0c90  \u0c12 \u0c92  \u0c17 \u0c97
\u0c1c \u0c9c  \u0c1d \u0c9d  \u0c1e \u0c9e  \u0c1f \u0c9f  \u0c23 \u0ca3  \u0c26 \u0ca6  \u0c28 \u0ca8
\u0c2f \u0caf  \u0c30 \u0cb0  \u0c31 \u0cb1  \u0c32 \u0cb2  \u0c33 \u0cb3  \u0c3f \u0cbf  \u0c41 \u0cc1
\u0c43 \u0cc3  \u0d28\u0d4d \u0d7b  \u0d30 \u1002ი  \u0d30\u0d4d \u0d7c  \u0d30\u102c \u1000
\u0d30\u102c\u1039\u0d30\u102c \u1023  \u0d30\u103e \u1081  \u0d32\u0d4d \u0d7d  \u0d33\u0d4d \u0d7e  \u0e08 \u0e88
\u0e1a \u0e9a  \u0e1b \u0e9b  \u0e1d \u0e9d  \u0e1e \u0e9e  \u0e1f \u0e9f  \u0e22 \u0e8d  \u0e34 \u17b7
\u0e35 \u17b8  \u0e36 \u17b9  \u0e37 \u17ba  \u0e38 \u0eb8  \u0e39 \u0eb9  \u0e40\u0e40 \u0e41  \u0e48 \u0ec8\u17cb
\u0e49 \u0ec9  \u0e4a \u0eca  \u0e4b \u0ecb  \u0f68\u0f7c\u0f7e \u0f00  \u0f7a\u0f7a \u0f7b  \u0f7c\u0f7c \u0f7d
\u1003\u103e \u1070  \u1015\u102c \u101f  \u1015\u102c\u103e \u106f  \u1015\u103e \u1066  \u101b\u103e \u1061
\u101e\u103c \u1029  \u101e\u103c\u0b47\u102c\u103a \u102a  \u107d\u103e \u107e  \u1206 Մ  \u1261 Ռ  \u12ae Ի
\u1323 Պ  \u15e1 \ua4f7  \u1660 \ua4ed  \u16e6 \U000104d0  \u16ef \u2d63  \u1ada \u1de8  \u1adb \u2dee
\u1ae9 \u031a  ᴀ \uab7a  ᴅ \uab70  ᴇ \uab7c  ᴊ \uab7b  ᴎ ͷи\U0001044d  ᴘ ᴩ\uabb2  ᴙ я  ᴛ τт\u2ca7\uab72  ᴛ\u0329 ҭ
\u1ddf \u2de8  ẟ δծ\u2cdd  \u20e9 \ua66f  \u2132 \ua4de  \u2202\u0335 ð  \u2261 \u2cb7  \u276c く\U00021fe8
\u2c3f \ua992  Ⱬ \u2c8c  ⱬ \u2c8d  Ⱶ Ͱ\u13a8\u13b0  ⱶ \uab80  \u2dec \u1dee  へ ヘ  \u30fc 一ꟷ  二 ニ  亻 イ
儿 \u3126  八 ハ  力 カ  卜 ト  口 ロ  夕 タ  工 エ  \ua4d5 Ʇ  \ua4e4 Ꞟ  \ua4f6 \U00010411  Ꙍ \u2cb0Ꞷ  ꙩ \U000104eb
ꜧ ꞕ  Ꜿ Ͽ  ꜿ ͽ  Ꝺ ꝺ  Ꞇ Ⴀ  Ꞓ Є\u2c88  ꞓ ɛεєԑ\u2c89\uab9b\U00010429  \ua7ce ʕ  \U000102a8 Ꚛ  \U00010412 Ꞛ
\U0001043a ꞛ  \U00010efa \u0348  \U00011b62 \u0956\u0a41  \U00011b63 \u0957\u0a42  \U00011b64 \u0947\u0a47
\U00016ff3 兒  \U0001b122 于  \U0002b73f 愸
"""

_LOOKS_LIKE = {
    ord(char): group.partition(" ")[0]
    for group in re.split("  |\n", _TABLE.strip())
    for char in group.partition(" ")[2]
}
# Unicode has no plain letters for these, so they look like nothing else in its table.
_SMALL_CAPITALS = str.maketrans("ᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘꞯʀꜱᴛᴜᴠᴡʏᴢ", "abcdefghijklmnopqrstuvwyz")

_LIKE_I = {code: "i" if look == "l" else look for code, look in _LOOKS_LIKE.items()}

# Invisible, or only a longer line: joiners and the tatweel; and the tsheg, which is optional at the end.
_LEFT_OUT = dict.fromkeys(map(ord, "\u0640\u200c\u200d\u0f0b"))

_DOTTED = re.compile("([ij])\u0307")


def looks(name: str) -> tuple[str, ...]:
    """What a name looks like: UTS #39's skeleton, in lower case. Names that have one of these in common look alike.

    A name has several looks if the upper and lower case of a letter look like different letters (Greek Ν and ν look
    like N and v), if a letter is a small capital, or if one looks like both I and l. A name in ASCII looks only like
    itself, in any case.
    """
    if name.isascii():
        return (name.lower(),)
    spellings = name, name.casefold(), name.translate(_SMALL_CAPITALS)
    found = *(_look(each, _LOOKS_LIKE) for each in spellings), _look(name, _LIKE_I)
    return tuple(dict.fromkeys(found))


def in_latin(name: str) -> str:
    """The name with each letter that looks like a Latin letter replaced by that letter, in the same case."""
    return unicodedata.normalize("NFC", "".join(_latin(char) for char in unicodedata.normalize("NFD", name)))


def _latin(char: str) -> str:
    look = _LOOKS_LIKE.get(ord(char), char)
    if look == "l" and char.isupper():
        look = "I"
    return look if look.isalnum() and look.isascii() else char


def _look(name: str, table: dict[int, str]) -> str:
    """The skeleton of a name, in its present case."""
    parts = unicodedata.normalize("NFKD", name)
    plain = "".join(str(unicodedata.decimal(char, char)) for char in parts).translate(table).translate(_LEFT_OUT)
    return _DOTTED.sub(r"\1", unicodedata.normalize("NFKD", plain).casefold())
