"""The smallest DRF view: the token is checked without a query, one INSERT, no validation."""

import json

from django.db import connection
from rest_framework.parsers import JSONParser
from rest_framework.renderers import JSONRenderer
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework_simplejwt.authentication import JWTStatelessUserAuthentication

INSERT = """
INSERT INTO ordinary_task (user_id, task_type, input_data, status, created_at)
VALUES (%s, %s, %s, 'pending', statement_timestamp()) RETURNING id, created_at
"""


class BareCreateView(APIView):
    authentication_classes = [JWTStatelessUserAuthentication]
    parser_classes = [JSONParser]
    renderer_classes = [JSONRenderer]

    def post(self, request):
        task_type, given = request.data["task_type"], request.data["input_data"]
        with connection.cursor() as cursor:
            cursor.execute(INSERT, [request.user.id, task_type, json.dumps(given)])
            task_id, created_at = cursor.fetchone()
        task = {"id": task_id, "task_type": task_type, "input_data": given, "status": "pending"}
        return Response({**task, "result": None, "created_at": created_at}, status=201)
