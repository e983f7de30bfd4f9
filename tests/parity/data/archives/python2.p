(lp0
(dp1
S'sent'
p2
S'it\'s a "caf\xc3\xa9"\n'
p3
sS'raw'
p4
Vcafé \u20ac \U0001f600
p5
sS'id'
p6
L5L
sS'ok'
p7
I01
sa.