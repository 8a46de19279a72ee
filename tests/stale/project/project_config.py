PIPELINE = "shop.tasks:Everything"
SHOPS = ["North", "South"]
UNUSED_SETTING = 1
USER_AGENT = "shop"
