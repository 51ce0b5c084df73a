"""The image and the video of the documentation's examples. Every example works unchanged, on every model."""

# A red circle of 30 pixels across in a picture of 96 x 96, with its centre at (44, 48).
CIRCLE_PNG = (
    "iVBORw0KGgoAAAANSUhEUgAAAGAAAABgBAMAAAAQtmoLAAAAMFBMVEXi7u7i6enh5eXh4uLh4eHh4ODh39/h3t7fx8fXamrTMzPSKyvS"
    "KSnSKCjSIyPRGxsKi9vbAAAB2UlEQVR42mN0YSANMDGMahjVMKphVMOohkGqQVCQJA1ChnfPCRsSr0H4do9ryMleHDoYMSoU5pceioIM"
    "799VF13ApoEFQ0TTyCzgPYPgb8E8vw/EaBCcsdxmjyDDe+akH8v4iHAS4584n0cCDAwM/x9ZWxo9wNTArISm4dr8UxIMDAwMjPxXZXZy"
    "ELZBR19OAcr8JyerR9AG5rUrGOFmXVHjekEoHniKkEKGT2MjwYiTVb2EpMHxEUEn3XWWQHiU8YPgxx/4bWC66CuAxH3Cp0DASYyMaGFI"
    "yA//BVC4/KIHCGj4m/gRRT/TRwIa+FElBQw+UJ5FUVMrmgs+3BYgYAPTfBRHMf7nJ6QB1c0fXxkQCtb/DPiCGUvSEBTlQMoDvGdu/SCg"
    "wViAHWHoPzkvcULB+ui1PpLce36COY750CdEkn508ckFQn74b/UJ7tF/Ogk/CJd8n2fZwYL2yTomIorKz6+X8EF0PLA6bUeEhn/2VU/4"
    "7n/4/+6B48wtWIoljHKJ4ZMiE6/jD0Zp1Tn5/kQVlf+/T2e4Lay7631lwQXiSm8G4ZPfihheTky5R2Rxz8AgzLPvo4r9eQaiNTAwCAq8"
    "/0BUBoKB9+9HWwKjGkY1jGoY1TCYNQAAJCaEDacqCJ0AAAAASUVORK5CYII="
)
IMAGE = {"type": "base64", "value": CIRCLE_PNG}
"""The image as a JSON object."""

# A red circle of 40 pixels across that moves to the right, in three frames of 96 x 72.
CIRCLE_GIF = (
    "R0lGODlhYABIAIEAAOLg3NYoKAAAAAAAACH/C05FVFNDQVBFMi4wAwEAAAAh+QQACgAAACwAAAAAYABIAAAI6gABCBxIsKDBgwgT"
    "KlzIsKHDhxAjSpxIsaLFixgzatzIsaPHjyBDihxJsqTJkyhTqlzJsqXLlzBjypxJs6bNmxoD6Ny5EydHnkCD+rQYtKjQoRCNKj2K"
    "dOHSpzybKoRKVafUg1WzXiWYtetWAF3DXg1LVipZsUjPlh2qFi3OtmtvwnVrc65XuXbv1syrlyZfrXX/UsUr+CnhwkoPIy6qeDHQ"
    "xo57QnbsMzLTwJYlv80cIC3nppnNWh5LeevirwILox74dzVXu64Lzo2NNS7t2oNvN0ysu7fv38CDCx9OvLjx48iTK1/OvDnqgAAh"
    "+QQBCgACACwOABAAMQApAIHi4NzWKCgAAAAAAAAI2gAFCBxIsKAAAAgTIhQQoKHDhgYjSpSoUGHEhw8naixYMeFGjA43Tuy4UKRA"
    "kBBNDiQJQOVAlAFcsnRJEKbJmTRrotyIM6dOkCNJ+ry402DPoQVtchSK1KDSlUybOi0q8KjUl1StXsUK9GDUrT8xVv0K9uROrWUZ"
    "okRbFiZbsG7JplUL8u3WuB3nJl0rNy3einrDPrR71SZhpEoPD03c927Wxk2fes07V/JkwG2pQqUMV/NmzIU9E1Ss0bJRyCJNRyS9"
    "t+tN1ERdq2St+jVnibVpos2NdCZvgwEBACH5BAEKAAIALBYAEAAxACkAgeLg3NYoKAAAAAAAAAjaAAUIHEiwoAAACBMiFBCgocOG"
    "BiNKlKhQYcSHDydqLFgx4UaMDjdO7LhQpECQEE0OJAlA5UCUAVyydEkQpsmZNGui3Igzp06QI0n6vLjTYM+hBW1yFIrUoNKVTJs6"
    "LSrwqNSXVK1exQr0YNStPzFW/Qr25E6tZRmiRFsWJluwbsmmVQvy7da4HecmXSs3Ld6KesM+tHvVJmGkSg8PTdz3btbGTZ96zTtX"
    "8mTAbalCpQxX82bMhT0TVKzRslHIIk1HJL23603URF2rZK36NWeJtWmizY10Jm+DAQEAOw=="
)
VIDEO = {"type": "base64", "value": CIRCLE_GIF}
"""The video as a JSON object."""
