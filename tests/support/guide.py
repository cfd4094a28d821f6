"""What the guide for senders prints."""

from __future__ import annotations

# as printed in the guide: a comment behind the last member, and an address that a page turned into a Markdown link
PRINTED = """{  
  "fileName": "parastest31.csv.asc",  
  "type": "event",  
  "columns": {  
    "event_name": { "ctName": "evtName", "dataType": "String" },  
    "time_stamp": {"ctName": "ts", "dataType": "Integer"},  
    "identity": {"ctName": "identity", "dataType": "String"},  
    "item_name": { "ctName": "Name", "dataType": "String" },  
    "item_price": {"dataType": "Integer"},  
    "item_delivery_date": { "ctName": "DeliveryDate", "dataType": "String" }  
  },  
  "clientEmail": "[[email\u00a0protected]](mailto:[email\u00a0protected])",  
  "keyId": "ec491319-9823-48cd-b6a1-6bb0bc666d75"// Mention the KeyID here  
}"""  # noqa: W291 -- the blanks at the ends are the guide's
